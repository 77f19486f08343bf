// One step of the machine: the state it changes and the actions it collects.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "flops/rounds/run_machine.hpp"

namespace flops::rounds {

class Transition {
 public:
  Transition(RunState& state, SteadyTime now) : state_(state), now_(now) {}
  [[nodiscard]] std::vector<Action> take() { return std::move(actions_); }

  void operator()(const DevicesAvailable& event);
  void operator()(const Tick&);
  void operator()(const TaskFailed& event);
  void operator()(const Initialised& event);
  void operator()(const Contributed& event);
  void operator()(const Aggregated& event);
  void operator()(const AggregationFailed& event);
  void operator()(const Evaluated& event);
  void operator()(const StopRequested&);
  void operator()(const GoalReached& event);
  void operator()(const TakenBack&);
  void operator()(const HandedUp&) {}
  void begin_part();
  void restart();

 private:
  // The participant of this device, if the task is its current one and has no final answer yet.
  [[nodiscard]] Participant* open_participant(const DeviceId& device, const TaskId& task);
  [[nodiscard]] std::int64_t count(Answer answer) const;
  void enter(Phase phase);
  void extend_deadline();
  void over(Phase phase, std::string reason);
  void cancel(const DeviceId& device, const Participant& participant, const std::string& reason);
  void cancel_open_tasks(const std::string& reason);
  void send(const DeviceId& device, const Participant& participant);
  void add_participant(const DeviceId& device, wire::TaskKind kind);
  void evaluate();
  void finish_when_evaluated();
  void finish();

  // The first model (initialisation.cpp).
  void start_when_possible();
  void begin_or_fail();
  void fail_when_no_site_can();
  void deadline_of_waiting();
  [[nodiscard]] const DeviceId* unasked() const;
  void initialise_when_nobody_does();
  void deadline_of_initialisation();
  void initialisation_failed(const std::string& why);

  // A round (round_rules.cpp).
  void open_round(std::int64_t round);
  void drop_too_late();
  void top_up();
  void ask_all_that_are_free();
  [[nodiscard]] bool asked_in_this_round(const Participant& participant) const;
  void pass_over_the_silent();
  [[nodiscard]] bool useful(const DeviceId& device, const Participant& participant) const;
  [[nodiscard]] bool complete() const;
  void close_when_complete();
  void close_round();
  void deadline_of_round();
  [[nodiscard]] std::string why_it_waits() const;

  RunState& state_;
  SteadyTime now_;
  std::vector<Action> actions_;
};

}  // namespace flops::rounds
