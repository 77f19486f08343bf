// The task machine itself: one member function an event. task_machine.cpp has the way from the command to the receipt,
// training.cpp what happens around the trainer.
#pragma once

#include <string>
#include <utility>

#include "flops/agent_task/task_machine.hpp"

namespace flops::agent {

inline bool retryable(ErrorKind kind) {
  return kind == ErrorKind::transient || kind == ErrorKind::resource;
}

class Machine {
 public:
  explicit Machine(const TaskState& state) : step_{state, {}} {}
  [[nodiscard]] Step take() { return std::move(step_); }

  void operator()(const event::Arrived& event);
  void operator()(const event::ChunksComplete&);
  void operator()(const event::Assembled&);
  void operator()(const event::AssembleFailed& event);
  void operator()(const event::BaseMissing&);
  void operator()(const event::Chosen&);
  void operator()(const event::Evaluated& event);
  void operator()(const event::MetricsDelivered&);
  void operator()(const event::Checkpointed&);
  void operator()(const event::Trained& event);
  void operator()(const event::KeptMissing&);
  void operator()(const event::TrainFailed& event);
  void operator()(const event::Encoded& event);
  void operator()(const event::EncodeFailed& event);
  void operator()(const event::Granted& event);
  void operator()(const event::Receipted& event);
  void operator()(const event::Cancelled&) { finish(); }
  void operator()(const event::Superseded&) { finish(); }
  void operator()(const event::Connected&);
  void operator()(const event::Restarted& event);

 private:
  [[nodiscard]] TaskState& state() { return step_.next; }
  [[nodiscard]] bool in(Phase phase) const { return step_.next.phase == phase; }
  [[nodiscard]] bool open() const { return !in(Phase::absent) && !in(Phase::finished); }
  [[nodiscard]] bool said() const { return in(Phase::offering) || in(Phase::uploading); }
  void act(Action action) { step_.actions.push_back(std::move(action)); }
  void go(Phase phase) { step_.next.phase = phase; }

  void take_new(const event::Arrived& event);
  void arrived_again(const event::Arrived& event);
  void leave(wire::AckStatus status, std::string reason);
  void offer(wire::ResultMessage result);
  void give_up(std::string reason);
  void end_training(std::string reason);
  void encode_kept();
  [[nodiscard]] int rounds_kept() const { return step_.next.continued ? step_.next.continued->rounds : 0; }
  [[nodiscard]] std::uint64_t steps_so_far(const Outcome& last) const;
  void retry(Phase phase, const Error& error);
  void finish();
  void say_again();

  Step step_;
};

}  // namespace flops::agent
