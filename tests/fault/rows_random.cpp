// kill -9 at random instants, whatever happens to be at work.
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
    listener_ = stage_.logs->listen([this](const std::string& program, const std::string& line) {
      if (line.contains("-> finished")) {
        interruptions_.erase(program);
      }
    });
  }

  ~Instants() { stage_.logs->forget(listener_); }
  Instants(const Instants&) = delete;
  Instants& operator=(const Instants&) = delete;

  Result<> strike_next() {
    if (auto going = keep_running(); !going) {
      return going;
    }
    const int sleeper = wait_for_links();
    stage_.let_pass(milliseconds(pick(20, 900)));
    const auto victim = sleeper > 0 ? Victim::agent : static_cast<Victim>(pick(0, 3));
    const int device = sleeper > 0 ? sleeper : pick(1, fleet_.setup().devices);
    if (!may_strike(victim, device) || !kill_now(stage_, fleet_, victim, device)) {
      return {};  // or it went by itself in this moment: an idle trainer
    }
    ++struck_;
    return bring_back(stage_, fleet_, victim, device, milliseconds(pick(50, 500)));
  }

  [[nodiscard]] int struck() const { return struck_; }

 private:
  // The next run begins when one is over, so that something is always at work.
  Result<> keep_running() {
    if (fleet_.run_state() != "finished") {
      return {};
    }
    if (auto ended = fleet_.end_run(); !ended) {
      return ended;
    }
    return fleet_.begin_run();
  }

  // A device whose link broke several times waits up to a minute before it connects, and a fleet that waits tests
  // nothing. Returns the device that is struck next for that, because it comes back at once then; 0: none.
  int wait_for_links() {
    int sleeper = 0;
    const auto all_linked = [&] {
      sleeper = 0;
      for (int device = 1; device <= fleet_.setup().devices; ++device) {
        sleeper = fleet_.linked(device) ? sleeper : device;
      }
      return sleeper == 0;
    };
    (void)stage_.until("all links", all_linked, milliseconds(3000));
    return sleeper;
  }

  bool may_strike(Victim victim, int device) {
    auto& [agent, trainer] = interruptions_[Fleet::device_name(device)];
    switch (victim) {
      case Victim::agent: return ++agent <= agent_kills_per_task;
      case Victim::trainer: return fleet_.trainer_pid(device) > 0 && ++trainer <= trainer_kills_per_task;
      case Victim::coordinator: return true;
      case Victim::broker: return fleet_.broker_pid() > 0;
    }
    return false;
  }

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(stage_.random); }

  Stage& stage_;
  Fleet& fleet_;
  std::map<std::string, std::pair<int, int>> interruptions_;  // of the open task, by device
  int listener_ = 0;
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
    scenario.when = "random instants, one run after the other";
    scenario.setup = long_setup();
    scenario.in_short = in_short;
    scenario.expected_errors = {"broker: mosquitto was killed by signal 9"};
    scenario.play = [count = instants](Stage& stage, Fleet& fleet) { return play_random(stage, fleet, count); };
    table.push_back(std::move(scenario));
  }
}

}  // namespace flops::faults
