// kill -9 of the coordinator in each state that only runs with clusters have.
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

// Devices 1 and 3 are of cluster c1, 2 and 4 of c2.
Setup grouped_setup(const std::string& name, int rounds, int cycles) {
  return {
      .name = name, .devices = 4, .rounds = rounds, .cycles = cycles, .clusters = 2, .min_fit = 2, .min_available = 2};
}

Result<> play_strikes(Stage& stage, Fleet& fleet, const std::vector<std::vector<std::string>>& moments) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  for (const std::vector<std::string>& words : moments) {
    if (auto done = strike(stage, fleet, {Victim::coordinator, 0, {"coordinator", words}}); !done) {
      return done;
    }
  }
  return fleet.end_run();
}

void add_row(std::vector<Scenario>& table, const std::string& name, const Setup& setup,
             std::vector<std::vector<std::string>> moments, bool in_short) {
  Scenario scenario;
  scenario.name = name;
  scenario.strikes = fmt::format("kill -9 of the coordinator, {} times, in a run with clusters", moments.size());
  std::vector<std::string> when;
  for (const auto& words : moments) {
    when.push_back(fmt::format("{}", fmt::join(words, " ")));
  }
  scenario.when = fmt::format("{}", fmt::join(when, "; "));
  scenario.setup = setup;
  scenario.in_short = in_short;
  scenario.play = [moments = std::move(moments)](Stage& stage, Fleet& fleet) {
    return play_strikes(stage, fleet, moments);
  };
  table.push_back(std::move(scenario));
}

}  // namespace

void add_grouped_rows(std::vector<Scenario>& table) {
  // One round a cycle: clusters hand up sums.
  const Setup sums = grouped_setup("grouped-sums", 1, 4);
  add_row(table, "grouped-sums", sums,
          {{"updates: task run-1.r1.", "durable and summed"},
           {"runs: cluster ", " is in the sum of cycle 2"},
           {"runs: run-1 cycle 3: cluster ", " has handed up its sum"},
           {"runs: run-1 round 3: model "},
           {"runs: task run-1.e4.", "goes to"}},
          true);
  // Several: clusters make models of their own, and hand up the last one.
  const Setup models = grouped_setup("grouped-models", 2, 3);
  add_row(table, "grouped-models", models,
          {{"runs: task run-1.i0.", "goes to"},
           {"runs: round 1, cluster c1: the model is there"},
           // Of the next cycle: in this one c2 may be ahead of c1.
           {"runs: run-1 round 4, cluster c2: model "},
           {"runs: run-1 cycle 2: cluster ", " has handed up its model"},
           {"runs: round 2: the model is there"},
           {"updates: task run-1.r6.", "durable and summed"}},
          false);
  add_row(table, "grouped-top", sums, {{"runs: the mean is stored"}, {"runs: round 2: the model is there"}}, false);
}

}  // namespace flops::faults
