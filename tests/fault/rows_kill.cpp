// kill -9 in every state that a program has just made durable and reported.
#include <algorithm>

#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

struct Row {
  std::string name;
  Strike strike;
};

constexpr const char* broker_killed = "broker: mosquitto was killed by signal 9";

Moment agent_reaches(int device, const std::string& task, const std::string& phase) {
  return {Fleet::device_name(device), {"." + task + ".", "-> " + phase}};
}

Moment coordinator_says(std::vector<std::string> words) {
  return {"coordinator", std::move(words)};
}

// i0: initial parameters, which device 1 makes. r2: a round that starts from a delta. e3: the evaluation at the end.
std::vector<Row> agent_rows() {
  std::vector<Row> rows;
  const auto add = [&](const std::string& kind, int device, const std::string& task, std::vector<std::string> phases) {
    for (const std::string& phase : phases) {
      rows.push_back(
          {fmt::format("agent-{}-{}", kind, phase), {Victim::agent, device, agent_reaches(device, task, phase)}});
    }
  };
  add("init", 1, "i0", {"ready", "running", "encoding", "offering", "uploading", "finished"});
  add("train", 2, "r2",
      {"fetching", "assembling", "ready", "running", "encoding", "offering", "uploading", "finished"});
  add("evaluate", 3, "e3", {"fetching", "assembling", "ready", "running", "offering", "finished"});
  return rows;
}

std::vector<Row> trainer_rows() {
  return {
      {"trainer-loading", {Victim::trainer, 2, {"device-2", {"trainer: worker ", " started"}}}},
      {"trainer-init", {Victim::trainer, 1, agent_reaches(1, "i0", "encoding")}},
      {"trainer-training", {Victim::trainer, 2, agent_reaches(2, "r2", "running")}},
      {"trainer-idle", {Victim::trainer, 2, agent_reaches(2, "r2", "encoding")}},
      {"trainer-evaluating", {Victim::trainer, 3, agent_reaches(3, "e3", "running")}},
  };
}

std::vector<Row> coordinator_rows() {
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, std::vector<std::string> words) {
    rows.push_back({"coordinator-" + name, {Victim::coordinator, 0, coordinator_says(std::move(words))}});
  };
  add("waiting", {"runs: run-1 is next"});
  add("initialising-task", {"runs: task run-1.i0.", "goes to"});
  add("initialising-offer", {"updates: task run-1.i0.", "offers"});
  add("initialising-received", {"updates: task run-1.i0.", "all bytes are here"});
  add("fitting-first-task", {"runs: task run-1.r1.", "goes to"});
  add("fitting-task", {"runs: task run-1.r2.", "goes to"});
  add("fitting-offer", {"updates: task run-1.r2.", "offers"});
  add("fitting-received", {"updates: task run-1.r2.", "all bytes are here"});
  add("fitting-summed", {"updates: task run-1.r2.", "durable and summed"});
  add("aggregating-mean", {"runs: the mean is stored"});
  add("aggregating-encoded", {"runs: round 2: the model is there"});
  add("aggregating-recorded", {"runs: run-1 round 2: model "});
  add("evaluating-task", {"runs: task run-1.e3.", "goes to"});
  add("finished", {"runs: run-1 is finished"});
  return rows;
}

std::vector<Row> broker_rows() {
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, Moment at) {
    rows.push_back({"broker-" + name, {Victim::broker, 0, std::move(at)}});
  };
  add("initialising", coordinator_says({"runs: task run-1.i0.", "goes to"}));
  add("task", coordinator_says({"runs: task run-1.r2.", "goes to"}));
  add("fetching", agent_reaches(2, "r2", "fetching"));
  add("training", agent_reaches(2, "r2", "running"));
  add("offering", agent_reaches(2, "r2", "offering"));
  add("uploading", agent_reaches(2, "r2", "uploading"));
  add("receipt", coordinator_says({"updates: task run-1.r2.", "durable and summed"}));
  add("aggregating", coordinator_says({"runs: the mean is stored"}));
  add("evaluating", agent_reaches(3, "e3", "running"));
  return rows;
}

Result<> play_strikes(Stage& stage, Fleet& fleet, const std::vector<Strike>& strikes) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  for (const Strike& one : strikes) {
    if (auto done = strike(stage, fleet, one); !done) {
      return done;
    }
  }
  return fleet.end_run();
}

void add_rows(std::vector<Scenario>& table, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Scenario scenario;
    scenario.name = row.name;
    scenario.strikes = fmt::format("kill -9 of the {}", to_string(row.strike.victim));
    scenario.when = fmt::format("{}: {}", row.strike.at.program, fmt::join(row.strike.at.words, " "));
    scenario.setup = small_setup();
    if (row.strike.victim == Victim::broker) {
      scenario.expected_errors = {broker_killed};
    }
    scenario.play = [strikes = std::vector{row.strike}](Stage& stage, Fleet& fleet) {
      return play_strikes(stage, fleet, strikes);
    };
    table.push_back(std::move(scenario));
  }
}

// A device whose link breaks again and again waits longer and longer before it connects.
constexpr std::size_t longest_series = 4;

// The same moments one after the other in one run, one a round: what the short form plays.
void add_series(std::vector<Scenario>& table, Victim victim, std::vector<Strike> strikes) {
  const bool breaks_links = victim == Victim::coordinator || victim == Victim::broker;
  const std::size_t most = breaks_links ? longest_series : strikes.size();
  for (std::size_t first = 0; first < strikes.size(); first += most) {
    const auto begin = strikes.begin() + static_cast<std::ptrdiff_t>(first);
    const auto count = static_cast<std::ptrdiff_t>(std::min(most, strikes.size() - first));
    Scenario scenario;
    scenario.name = fmt::format("series-{}-{}", to_string(victim), first / most + 1);
    scenario.strikes = fmt::format("kill -9 of the {}, {} times", to_string(victim), count);
    scenario.when = "one state after the other, round by round";
    scenario.setup = long_setup();
    scenario.in_short = true;
    if (victim == Victim::broker) {
      scenario.expected_errors = {broker_killed};
    }
    scenario.play = [part = std::vector(begin, begin + count)](Stage& stage, Fleet& fleet) {
      return play_strikes(stage, fleet, part);
    };
    table.push_back(std::move(scenario));
  }
}

std::vector<Strike> agent_series() {
  std::vector<Strike> strikes = {{Victim::agent, 1, agent_reaches(1, "i0", "uploading")}};
  int round = 1;
  for (const char* phase :
       {"fetching", "assembling", "ready", "running", "encoding", "offering", "uploading", "finished"}) {
    strikes.push_back({Victim::agent, 2, agent_reaches(2, fmt::format("r{}", ++round), phase)});
  }
  strikes.push_back({Victim::agent, 3, agent_reaches(3, fmt::format("e{}", long_setup().rounds), "running")});
  return strikes;
}

std::vector<Strike> trainer_series() {
  return {{Victim::trainer, 1, agent_reaches(1, "i0", "encoding")},
          {Victim::trainer, 2, {"device-2", {"trainer: worker ", " started"}}},
          {Victim::trainer, 2, agent_reaches(2, "r2", "running")},
          {Victim::trainer, 2, agent_reaches(2, "r3", "encoding")},
          {Victim::trainer, 3, agent_reaches(3, fmt::format("e{}", long_setup().rounds), "running")}};
}

std::vector<Strike> coordinator_series() {
  std::vector<Strike> strikes = {
      {Victim::coordinator, 0, coordinator_says({"updates: task run-1.i0.", "all bytes are here"})}};
  int round = 1;
  for (const char* words : {"goes to", "offers", "all bytes are here", "durable and summed"}) {
    strikes.push_back({Victim::coordinator, 0, coordinator_says({fmt::format("task run-1.r{}.", ++round), words})});
  }
  for (const char* words : {"the model is there", "model "}) {
    strikes.push_back({Victim::coordinator, 0, coordinator_says({fmt::format("round {}: ", ++round), words})});
  }
  strikes.push_back({Victim::coordinator, 0, coordinator_says({"runs: the mean is stored"})});
  strikes.push_back({Victim::coordinator, 0,
                     coordinator_says({fmt::format("runs: task run-1.e{}.", long_setup().rounds), "goes to"})});
  return strikes;
}

std::vector<Strike> broker_series() {
  std::vector<Strike> strikes = {{Victim::broker, 0, coordinator_says({"runs: task run-1.i0.", "goes to"})}};
  int round = 1;
  for (const char* phase : {"fetching", "running", "offering", "uploading", "finished"}) {
    strikes.push_back({Victim::broker, 0, agent_reaches(2, fmt::format("r{}", ++round), phase)});
  }
  strikes.push_back({Victim::broker, 0, coordinator_says({"runs: the mean is stored"})});
  strikes.push_back({Victim::broker, 0, agent_reaches(3, fmt::format("e{}", long_setup().rounds), "running")});
  return strikes;
}

// After a restart nobody is there yet. Where fewer devices would do, the next round must still ask all, and the last
// model must still be measured by all.
void add_few(std::vector<Scenario>& table) {
  Scenario scenario;
  scenario.name = "coordinator-aggregating-few";
  scenario.strikes = "kill -9 of the coordinator, 2 times; one device of three would be enough";
  scenario.when = "the models of the first and of the last round are encoded";
  scenario.setup = {.name = "few", .min_fit = 1};
  scenario.in_short = true;
  scenario.play = [](Stage& stage, Fleet& fleet) -> Result<> {
    const int last = fleet.setup().rounds;
    std::vector<Strike> strikes;
    for (const int round : {1, last}) {
      strikes.push_back(
          {Victim::coordinator, 0, coordinator_says({fmt::format("round {}: the model is there", round)})});
    }
    if (auto played = play_strikes(stage, fleet, strikes); !played) {
      return played;
    }
    auto run = fleet.ask("runs/" + fleet.run());
    if (!run) {
      return fail(run.error());
    }
    const auto& round = run->at("rounds").as_array().at(static_cast<std::size_t>(last - 1));
    const std::int64_t samples = round.at("evaluated_samples").to_number<std::int64_t>();
    if (samples != std::int64_t{fleet.setup().devices} * test_samples) {
      return fail(ErrorKind::permanent, "the last model was measured with {} samples", samples);
    }
    return {};
  };
  table.push_back(std::move(scenario));
}

}  // namespace

void add_kill_rows(std::vector<Scenario>& table) {
  add_series(table, Victim::agent, agent_series());
  add_series(table, Victim::trainer, trainer_series());
  add_series(table, Victim::coordinator, coordinator_series());
  add_series(table, Victim::broker, broker_series());
  add_rows(table, agent_rows());
  add_rows(table, trainer_rows());
  add_rows(table, coordinator_rows());
  add_rows(table, broker_rows());
  add_few(table);
}

}  // namespace flops::faults
