#include "flops/rounds/run_machine.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace flops::rounds {
namespace {

using wire::TaskKind;

constexpr std::int64_t max_failed_initialisations = 3;

constexpr std::array<std::pair<Phase, std::string_view>, 8> phase_names = {{
    {Phase::waiting, "waiting"},
    {Phase::initialising, "initialising"},
    {Phase::fitting, "fitting"},
    {Phase::aggregating, "aggregating"},
    {Phase::evaluating, "evaluating"},
    {Phase::finished, "finished"},
    {Phase::stopped, "stopped"},
    {Phase::failed, "failed"},
}};

std::string_view kind_letter(TaskKind kind) {
  switch (kind) {
    case TaskKind::init: return "i";
    case TaskKind::train: return "r";
    case TaskKind::evaluate: return "e";
  }
  return "";
}

// One step of the machine: the state it changes and the actions it collects.
class Transition {
 public:
  Transition(RunState& state, SteadyTime now) : state_(state), now_(now) {}
  [[nodiscard]] std::vector<Action> take() { return std::move(actions_); }

  void operator()(const DevicesAvailable& event) {
    state_.available = event.devices;
    switch (state_.phase) {
      case Phase::waiting: start_when_possible(); break;
      case Phase::initialising: initialise_when_nobody_does(); break;
      case Phase::fitting: top_up(); break;
      default: break;
    }
  }

  void operator()(const Tick&) {
    if (now_ < state_.deadline) {
      return;
    }
    switch (state_.phase) {
      case Phase::initialising: give_up_initialising("it did not answer in time"); break;
      case Phase::fitting: deadline_of_round(); break;
      case Phase::evaluating: finish(); break;
      default: break;
    }
  }

  void operator()(const TaskFailed& event) {
    Participant* participant = open_participant(event.device, event.task);
    if (participant == nullptr) {
      return;
    }
    participant->answer = Answer::failed;
    state_.reason = fmt::format("{}: {}", event.device, event.reason);
    switch (state_.phase) {
      case Phase::initialising: give_up_initialising(event.reason); break;
      case Phase::fitting:
        top_up();
        close_when_complete();
        break;
      case Phase::evaluating: finish_when_evaluated(); break;
      default: break;
    }
  }

  void operator()(const Initialised& event) {
    if (state_.phase != Phase::initialising || open_participant(event.device, event.task) == nullptr) {
      return;
    }
    state_.model = event.model;
    state_.reason.clear();
    open_round(1);
  }

  void operator()(const Contributed& event) {
    Participant* participant = open_participant(event.device, event.task);
    // While the sum is being closed, updates that were added before still count.
    if (participant == nullptr || (state_.phase != Phase::fitting && state_.phase != Phase::aggregating)) {
      return;
    }
    participant->answer = Answer::contributed;
    if (state_.phase == Phase::fitting) {
      close_when_complete();
    }
  }

  void operator()(const Aggregated& event) {
    if (state_.phase != Phase::aggregating) {
      return;
    }
    for (const auto& [device, participant] : state_.participants) {
      if (participant.answer == Answer::none) {
        actions_.push_back(CancelTask{device, participant.task, "the round is closed"});
      }
    }
    state_.model = event.model;
    state_.reason.clear();
    if (state_.round < state_.spec.rounds) {
      open_round(state_.round + 1);
    } else if (state_.spec.evaluate) {
      evaluate();
    } else {
      over(Phase::finished, "");
    }
  }

  void operator()(const AggregationFailed& event) {
    if (!is_over(state_.phase)) {
      cancel_open_tasks("the run failed");
      over(Phase::failed, event.reason);
    }
  }

  void operator()(const Evaluated& event) {
    Participant* participant = open_participant(event.device, event.task);
    if (participant == nullptr || state_.phase != Phase::evaluating) {
      return;
    }
    participant->answer = Answer::contributed;
    finish_when_evaluated();
  }

  void operator()(const StopRequested&) {
    if (!is_over(state_.phase)) {
      cancel_open_tasks("the run was stopped");
      over(Phase::stopped, "stopped on request");
    }
  }

  void restart() {
    state_.deadline = now_ + std::chrono::seconds(state_.spec.deadline_seconds);
    if (state_.phase == Phase::fitting || state_.phase == Phase::aggregating) {
      actions_.push_back(OpenRound{state_.round});
    }
    if (state_.phase == Phase::aggregating) {
      actions_.push_back(CloseRound{state_.round});
      return;
    }
    for (const auto& [device, participant] : state_.participants) {
      if (participant.answer == Answer::none) {
        send(device, participant);
      }
    }
    if (state_.phase == Phase::fitting) {
      close_when_complete();
    }
  }

 private:
  // The participant of this device, if the task is its current one and has no final answer yet.
  [[nodiscard]] Participant* open_participant(const DeviceId& device, const TaskId& task) {
    const auto found = state_.participants.find(device);
    const bool open =
        found != state_.participants.end() && found->second.task == task && found->second.answer == Answer::none;
    return open ? &found->second : nullptr;
  }

  [[nodiscard]] std::int64_t count(Answer answer) const {
    return std::ranges::count_if(state_.participants,
                                 [answer](const auto& entry) { return entry.second.answer == answer; });
  }

  void enter(Phase phase) {
    state_.phase = phase;
    state_.deadline = now_ + std::chrono::seconds(state_.spec.deadline_seconds);
  }

  void over(Phase phase, std::string reason) {
    state_.phase = phase;
    state_.reason = std::move(reason);
    actions_.push_back(RunOver{});
  }

  void cancel_open_tasks(const std::string& reason) {
    for (const auto& [device, participant] : state_.participants) {
      if (participant.answer == Answer::none) {
        actions_.push_back(CancelTask{device, participant.task, reason});
      }
    }
  }

  void send(const DeviceId& device, const Participant& participant) {
    const bool evaluate_first = participant.kind == TaskKind::train && state_.spec.evaluate && state_.round > 1;
    const std::uint64_t seed =
        participant.kind == TaskKind::init ? state_.spec.seed : task_seed(state_.spec.seed, state_.round, device);
    actions_.push_back(SendTask{device, participant.task, participant.kind, state_.round, evaluate_first, seed});
  }

  void add_participant(const DeviceId& device, TaskKind kind) {
    const Participant participant{task_id(state_.id, kind_letter(kind), state_.round, device), kind, Answer::none};
    state_.participants[device] = participant;
    send(device, participant);
  }

  void start_when_possible() {
    const auto wanted = static_cast<std::size_t>(state_.spec.min_available);
    if (state_.available.size() < wanted) {
      state_.reason = fmt::format("{} of {} devices with the data '{}' are online", state_.available.size(), wanted,
                                  state_.spec.data);
      return;
    }
    state_.reason.clear();
    enter(Phase::initialising);
    initialise_when_nobody_does();
  }

  // Initial parameters are made by one device (the coordinator has no LibTorch); the lowest id that has not failed.
  void initialise_when_nobody_does() {
    if (count(Answer::none) > 0) {
      return;
    }
    for (const DeviceId& device : state_.available) {
      if (!state_.participants.contains(device)) {
        add_participant(device, TaskKind::init);
        return;
      }
    }
  }

  void give_up_initialising(const std::string& why) {
    for (auto& [device, participant] : state_.participants) {
      if (participant.answer == Answer::none) {
        participant.answer = Answer::failed;
        actions_.push_back(CancelTask{device, participant.task, "it took too long"});
      }
    }
    ++state_.failed_initialisations;
    if (state_.failed_initialisations >= max_failed_initialisations) {
      over(Phase::failed, fmt::format("no device could make the initial model; the last one: {}", why));
      return;
    }
    enter(Phase::initialising);
    initialise_when_nobody_does();
    if (count(Answer::none) == 0) {
      over(Phase::failed, fmt::format("no device could make the initial model; the last one: {}", why));
    }
  }

  void open_round(std::int64_t round) {
    state_.round = round;
    state_.participants.clear();
    enter(Phase::fitting);
    actions_.push_back(OpenRound{round});
    top_up();
  }

  // Gives tasks to as many available devices as the round wants, counting those that already have or had one.
  void top_up() {
    const auto minimum = static_cast<std::size_t>(state_.spec.min_fit);
    const auto share =
        static_cast<std::size_t>(std::ceil(state_.spec.fraction * static_cast<double>(state_.available.size())));
    const std::size_t wanted = std::max(minimum, share);
    const std::size_t still_useful = state_.participants.size() - static_cast<std::size_t>(count(Answer::failed));
    if (state_.participants.empty() || still_useful < minimum) {
      std::set<DeviceId> fresh;
      std::ranges::copy_if(state_.available, std::inserter(fresh, fresh.end()),
                           [this](const DeviceId& device) { return !state_.participants.contains(device); });
      const std::size_t missing = wanted > still_useful ? wanted - still_useful : 0;
      for (const DeviceId& device : select(fresh, missing, state_.spec.seed, state_.round)) {
        add_participant(device, TaskKind::train);
      }
    }
  }

  void close_when_complete() {
    const std::int64_t contributed = count(Answer::contributed);
    if (count(Answer::none) > 0 || contributed == 0) {
      return;
    }
    if (contributed >= state_.spec.min_fit) {
      close_round();
    }
  }

  void close_round() {
    state_.phase = Phase::aggregating;
    actions_.push_back(CloseRound{state_.round});
  }

  void deadline_of_round() {
    const std::int64_t contributed = count(Answer::contributed);
    if (contributed >= state_.spec.min_fit) {
      close_round();
      return;
    }
    if (count(Answer::none) == 0) {
      over(Phase::failed,
           fmt::format("round {} has {} of {} updates and nobody is left to ask; last problem: {}", state_.round,
                       contributed, state_.spec.min_fit, state_.reason.empty() ? "none" : state_.reason));
      return;
    }
    // Somebody may still come back: wait for another term.
    state_.deadline = now_ + std::chrono::seconds(state_.spec.deadline_seconds);
    top_up();
  }

  void evaluate() {
    state_.participants.clear();
    enter(Phase::evaluating);
    for (const DeviceId& device : state_.available) {
      add_participant(device, TaskKind::evaluate);
    }
    finish_when_evaluated();
  }

  void finish_when_evaluated() {
    if (count(Answer::none) == 0) {
      finish();
    }
  }

  void finish() {
    cancel_open_tasks("the evaluation is closed");
    actions_.push_back(EvaluationClosed{state_.round});
    over(Phase::finished, "");
  }

  RunState& state_;
  SteadyTime now_;
  std::vector<Action> actions_;
};

}  // namespace

std::string_view to_string(Phase phase) {
  return std::ranges::find(phase_names, phase, &std::pair<Phase, std::string_view>::first)->second;
}

bool parse_phase(std::string_view text, Phase& phase) {
  const auto* const found = std::ranges::find(phase_names, text, &std::pair<Phase, std::string_view>::second);
  if (found == phase_names.end()) {
    return false;
  }
  phase = found->first;
  return true;
}

std::vector<Action> on_event(RunState& state, const Event& event, SteadyTime now) {
  Transition transition(state, now);
  std::visit(transition, event);
  return transition.take();
}

std::vector<Action> on_restart(RunState& state, SteadyTime now) {
  Transition transition(state, now);
  transition.restart();
  return transition.take();
}

}  // namespace flops::rounds
