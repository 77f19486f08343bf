// kill -9 at random instants of one run, whatever happens to be at work.
#include <algorithm>
#include <csignal>

#include "flops/core/log.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

using std::chrono::milliseconds;

// A task is given up after 3 failed attempts or 10 interruptions: by design, so the row stays below.
constexpr int trainer_kills_per_task = 2;
constexpr int agent_kills_per_task = 8;

class Instants {
 public:
  Instants(Stage& stage, Fleet& fleet) : stage_(stage), fleet_(fleet) {
    stage_.logs->listen([this](const std::string& program, const std::string& line) {
      if (line.contains("-> finished")) {
        interruptions_.erase(program);
      }
    });
  }

  Result<> strike_next() {
    stage_.let_pass(milliseconds(pick(20, 900)));
    if (const std::string state = fleet_.run_state(); state == "finished" || state == "failed") {
      return fail(ErrorKind::permanent, "the run was {} before all instants were struck", state);
    }
    const auto victim = static_cast<Victim>(pick(0, 3));
    const int device = pick(1, fleet_.setup().devices);
    auto& [agent, trainer] = interruptions_[Fleet::device_name(device)];
    if (victim == Victim::agent && ++agent > agent_kills_per_task) {
      return {};
    }
    if (victim == Victim::trainer && (fleet_.trainer_pid(device) <= 0 || ++trainer > trainer_kills_per_task)) {
      return {};
    }
    if (victim == Victim::broker && fleet_.broker_pid() <= 0) {
      return {};
    }
    if (auto killed = kill_now(stage_, fleet_, victim, device); !killed) {
      return {};  // it went by itself in this moment: an idle trainer, a broker between two starts
    }
    ++struck_;
    return bring_back(stage_, fleet_, victim, device, milliseconds(pick(50, 500)));
  }

  [[nodiscard]] int struck() const { return struck_; }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(stage_.random); }

  Stage& stage_;
  Fleet& fleet_;
  std::map<std::string, std::pair<int, int>> interruptions_;  // of the open task, by device
  int struck_ = 0;
};

Result<> play_random(Stage& stage, Fleet& fleet, int wanted) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  Instants instants(stage, fleet);
  for (int tries = 0; instants.struck() < wanted; ++tries) {
    if (tries > wanted * 10) {
      return fail(ErrorKind::permanent, "only {} of {} instants found something to kill", instants.struck(), wanted);
    }
    if (auto done = instants.strike_next(); !done) {
      return done;
    }
  }
  return fleet.end_run(std::chrono::minutes(5));
}

}  // namespace

void add_random_rows(std::vector<Scenario>& table) {
  for (const auto& [name, instants, in_short] :
       {std::tuple("random-12", 12, true), std::tuple("random-50", 50, false)}) {
    Scenario scenario;
    scenario.name = name;
    scenario.strikes = fmt::format("kill -9 of any program, {} times", instants);
    scenario.when = "random instants of one run";
    scenario.setup = long_setup();
    scenario.setup.rounds = instants > 20 ? 60 : long_setup().rounds;
    scenario.setup.name = instants > 20 ? "sixty-rounds" : scenario.setup.name;
    scenario.in_short = in_short;
    scenario.expected_errors = {"broker: mosquitto was killed by signal 9"};
    scenario.play = [count = instants](Stage& stage, Fleet& fleet) { return play_random(stage, fleet, count); };
    table.push_back(std::move(scenario));
  }
}

}  // namespace flops::faults
