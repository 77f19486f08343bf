// A device without a coordinator trains on by itself (`offline.continue`), and what it made counts once.
#include "ledger.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

constexpr int continued = 3;
constexpr int lonely_round = 2;  // of each run
constexpr int only_device = 1;

// The coordinator is away while the device trains, until it has trained as often as it may.
Result<> train_alone(Stage& stage, Fleet& fleet, const std::vector<Strike>& strikes) {
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  const std::string task = fmt::format("{}.r{}.", fleet.run(), lonely_round);
  const std::string device = Fleet::device_name(only_device);
  if (auto seen = at_moment(stage, {device, {task, "-> running"}}, [&] { fleet.coordinator().kill_now(); }); !seen) {
    return seen;
  }
  stage.struck("coordinator");
  if (auto dead = fleet.coordinator().kill(); !dead) {
    return dead;
  }
  for (const Strike& next : strikes) {
    if (auto done = strike(stage, fleet, next); !done) {
      return done;
    }
  }
  if (auto seen = at_moment(stage, {device, {task, "-> offering"}}, [] {}); !seen) {
    return seen;
  }
  if (auto started = fleet.coordinator().start(); !started) {
    return started;
  }
  return fleet.end_run();
}

Result<> check_counted(const Fleet& fleet, const Stage& stage) {
  auto ledger = read_coordinator(fleet.coordinator_state() / "coordinator.db", stage.folder / "scratch");
  if (!ledger) {
    return fail(ledger.error());
  }
  for (const Contribution& row : ledger->contributions) {
    const int expected = row.round == lonely_round ? 1 + continued : 1;
    if (row.local_rounds != expected) {
      return fail(ErrorKind::permanent, "task {} counts with {} local rounds, expected {}", row.task, row.local_rounds,
                  expected);
    }
  }
  std::vector<std::string> first;
  std::vector<std::string> second;
  for (const RoundRecord& round : ledger->rounds) {
    (round.run == "run-1" ? first : second).push_back(round.model);
  }
  if (first.empty() || first != second) {
    return fail(ErrorKind::permanent, "the models of the two runs are not the same: {}; {}", fmt::join(first, " "),
                fmt::join(second, " "));
  }
  return {};
}

// Twice, the second time with kill -9 in each local round: both end with the same models.
Result<> play_alone(Stage& stage, Fleet& fleet) {
  fleet.plan.offline_continue = continued;
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto played = train_alone(stage, fleet, {}); !played) {
    return played;
  }
  const std::string device = Fleet::device_name(only_device);
  const auto after = [&](int rounds) { return Moment{device, {fmt::format("no link after {} local rounds", rounds)}}; };
  const std::vector<Strike> strikes = {{Victim::agent, only_device, after(1)},
                                       {Victim::trainer, only_device, after(2)},
                                       {Victim::agent, only_device, after(3)}};
  if (auto played = train_alone(stage, fleet, strikes); !played) {
    return played;
  }
  return check_counted(fleet, stage);
}

}  // namespace

void add_offline_rows(std::vector<Scenario>& table) {
  Scenario scenario;
  scenario.name = "offline-training";
  scenario.strikes = "the coordinator is away, the device trains on; the second time with kill -9 of agent and trainer";
  scenario.when = "round 2";
  scenario.setup = {.name = "alone", .devices = 1, .min_fit = 1, .min_available = 1};
  scenario.in_short = true;
  scenario.compare = false;  // the device trains more than in an undisturbed run
  scenario.play = play_alone;
  table.push_back(std::move(scenario));
}

}  // namespace flops::faults
