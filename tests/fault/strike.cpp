#include "strike.hpp"

#include <algorithm>
#include <csignal>

#include "flops/core/log.hpp"
#include "invariants.hpp"

namespace flops::faults {

namespace {
constexpr std::chrono::milliseconds usual_down_time{300};
}

std::string to_string(Victim victim) {
  switch (victim) {
    case Victim::agent: return "agent";
    case Victim::trainer: return "trainer";
    case Victim::coordinator: return "coordinator";
    case Victim::broker: return "broker";
  }
  return "";
}

Result<> at_moment(Stage& stage, const Moment& moment, const std::function<void()>& then) {
  bool seen = false;
  const int listener = stage.logs->listen([&](const std::string& program, const std::string& line) {
    if (!seen && program == moment.program &&
        std::ranges::all_of(moment.words, [&](const std::string& word) { return line.contains(word); })) {
      seen = true;
      log::info("row", "at '{}'", line);
      then();
    }
  });
  auto reached =
      stage.until(fmt::format("'{}' of {}", fmt::join(moment.words, " "), moment.program), [&] { return seen; });
  stage.logs->forget(listener);
  return reached;
}

Result<> kill_now(Stage& stage, Fleet& fleet, Victim victim, int device) {
  if (victim == Victim::agent || victim == Victim::coordinator) {
    Program& program = victim == Victim::agent ? fleet.agent(device) : fleet.coordinator();
    program.kill_now();
  } else {
    const int pid = victim == Victim::trainer ? fleet.trainer_pid(device) : fleet.broker_pid();
    if (pid <= 0 || ::kill(pid, SIGKILL) != 0) {
      return fail(ErrorKind::transient, "there is no {} to kill", to_string(victim));
    }
  }
  stage.struck(to_string(victim));
  return {};
}

Result<> bring_back(Stage& stage, Fleet& fleet, Victim victim, int device, std::chrono::milliseconds down) {
  if (victim != Victim::agent && victim != Victim::coordinator) {
    return {};
  }
  Program& program = victim == Victim::agent ? fleet.agent(device) : fleet.coordinator();
  if (auto dead = program.kill(); !dead) {
    return dead;
  }
  if (victim == Victim::agent) {
    check_dead_agent(stage, fleet, device);
  } else {
    check_dead_coordinator(stage, fleet);
  }
  stage.let_pass(down);
  return program.start();
}

Result<> strike(Stage& stage, Fleet& fleet, const Strike& strike) {
  Result<> struck;
  auto seen = at_moment(stage, strike.at, [&] { struck = kill_now(stage, fleet, strike.victim, strike.device); });
  if (!seen) {
    return seen;
  }
  if (!struck) {  // a moment came while the last strike's victim was still coming back
    auto there = stage.until(fmt::format("a {} to kill", to_string(strike.victim)), [&] {
      struck = kill_now(stage, fleet, strike.victim, strike.device);
      return struck.has_value();
    });
    if (!there) {
      return there;
    }
  }
  return bring_back(stage, fleet, strike.victim, strike.device, usual_down_time);
}

}  // namespace flops::faults
