// A run under test, driven by events.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/rounds/run_machine.hpp"

namespace flops::rounds::testing {

inline DeviceId device(int n) {
  return DeviceId::parse("d" + std::to_string(n)).value();
}

inline std::set<DeviceId> devices(int count) {
  std::set<DeviceId> all;
  for (int i = 1; i <= count; ++i) {
    all.insert(device(i));
  }
  return all;
}

inline Digest model(char c) {
  return Digest::from_hex(std::string(64, c)).value();
}

template <class Kind>
std::vector<Kind> all(const std::vector<Action>& actions) {
  std::vector<Kind> found;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<Kind>(&action)) {
      found.push_back(*one);
    }
  }
  return found;
}

// A run under test: feeds events and remembers the tasks that were given out.
struct Run {
  RunState state;
  FakeClock clock;
  std::map<DeviceId, TaskId> tasks;

  explicit Run(std::int64_t rounds = 2, std::int64_t min_fit = 2) {
    state.id = RunId::parse("run-1").value();
    state.spec.model = "m";
    state.spec.data = "d";
    state.spec.rounds = rounds;
    state.spec.min_fit = min_fit;
    state.spec.min_available = min_fit;
  }
  std::vector<Action> feed(const Event& event) {
    auto actions = on_event(state, event, clock.steady());
    for (const SendTask& task : all<SendTask>(actions)) {
      tasks[task.device] = task.task;
    }
    return actions;
  }
  std::vector<Action> contribute(int n) { return feed(Contributed{device(n), tasks[device(n)]}); }
  std::vector<Action> fail_task(int n) { return feed(TaskFailed{device(n), tasks[device(n)], "broken"}); }
  [[nodiscard]] bool works(int n) const {  // on a task without an answer
    const auto found = state.participants.find(device(n));
    return found != state.participants.end() && found->second.answer == Answer::none;
  }
  void to_round_one(int count) {
    feed(DevicesAvailable{devices(count)});
    feed(Initialised{device(1), tasks[device(1)], model('a')});
    REQUIRE(state.phase == Phase::fitting);
  }
};

}  // namespace flops::rounds::testing
