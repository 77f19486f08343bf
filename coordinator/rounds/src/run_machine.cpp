// What each event means for the run as a whole; round_rules.cpp has the rules of a round, initialisation.cpp those of
// the first model.
#include "flops/rounds/run_machine.hpp"

#include <algorithm>
#include <array>

#include "transition.hpp"

namespace flops::rounds {

using wire::TaskKind;

namespace {

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

}  // namespace

void Transition::operator()(const DevicesAvailable& event) {
  state_.available = event.devices;
  switch (state_.phase) {
    case Phase::waiting: start_when_possible(); break;
    case Phase::initialising: initialise_when_nobody_does(); break;
    case Phase::fitting: top_up(); break;
    default: break;
  }
}

void Transition::operator()(const Tick&) {
  if (now_ < state_.deadline) {
    return;
  }
  switch (state_.phase) {
    case Phase::waiting: deadline_of_waiting(); break;
    case Phase::initialising: deadline_of_initialisation(); break;
    case Phase::fitting: deadline_of_round(); break;
    case Phase::evaluating: finish(); break;
    default: break;
  }
}

void Transition::operator()(const TaskFailed& event) {
  Participant* participant = open_participant(event.device, event.task);
  if (participant == nullptr) {
    return;
  }
  participant->answer = Answer::failed;
  state_.reason = fmt::format("{}: {}", event.device, event.reason);
  switch (state_.phase) {
    case Phase::initialising: initialisation_failed(event.reason); break;
    case Phase::fitting:
      if (staleness(state_, *participant) > 0) {
        state_.participants.erase(event.device);  // free for a task of this round
      }
      top_up();
      close_when_complete();
      fail_when_no_site_can();
      break;
    case Phase::evaluating: finish_when_evaluated(); break;
    default: break;
  }
}

// A site that fails its task cannot do it now; who asked for this part can ask again.
void Transition::fail_when_no_site_can() {
  const bool passed_on = state_.part == Part::rounds && state_.spec.clusters.by == Grouping::By::sites;
  if (passed_on && state_.phase == Phase::fitting && count(Answer::none) == 0) {
    over(Phase::failed, state_.reason);
  }
}

void Transition::operator()(const Initialised& event) {
  if (state_.phase != Phase::initialising || open_participant(event.device, event.task) == nullptr) {
    return;
  }
  state_.model = event.model;
  state_.reason.clear();
  state_.participants.clear();
  if (state_.part == Part::initialise) {
    over(Phase::finished, "");
  } else {
    open_round(1);
  }
}

void Transition::operator()(const Contributed& event) {
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

void Transition::operator()(const Aggregated& event) {
  if (state_.phase != Phase::aggregating) {
    return;
  }
  state_.model = event.model;
  state_.reason.clear();
  if (state_.round < last_round(state_)) {
    open_round(state_.round + 1);
    return;
  }
  cancel_open_tasks("the last round is closed");
  if (state_.part == Part::whole && state_.spec.evaluate) {
    evaluate();
  } else {
    over(Phase::finished, "");
  }
}

void Transition::operator()(const AggregationFailed& event) {
  if (!is_over(state_.phase)) {
    cancel_open_tasks("the run failed");
    over(Phase::failed, event.reason);
  }
}

void Transition::operator()(const Evaluated& event) {
  Participant* participant = open_participant(event.device, event.task);
  if (participant == nullptr || state_.phase != Phase::evaluating) {
    return;
  }
  participant->answer = Answer::contributed;
  finish_when_evaluated();
}

void Transition::operator()(const StopRequested&) {
  if (!is_over(state_.phase)) {
    cancel_open_tasks("the run was stopped");
    over(Phase::stopped, "stopped on request");
  }
}

void Transition::operator()(const GoalReached& event) {
  if (state_.part != Part::whole || state_.phase != Phase::fitting || event.round >= state_.round) {
    return;
  }
  cancel_open_tasks("the run's goal is reached");
  state_.round -= 1;  // the one that made the newest model
  if (event.round == state_.round) {
    over(Phase::finished, event.reason);
  } else {
    evaluate();
  }
}

void Transition::operator()(const TakenBack&) {
  for (auto& [device, participant] : state_.participants) {
    if (participant.answer == Answer::none) {
      cancel(device, participant, "the run is paused");
      participant.task = next_task_id(participant.task);
    }
  }
}

void Transition::begin_part() {
  switch (state_.part) {
    case Part::initialise:
      enter(Phase::initialising);
      initialise_when_nobody_does();
      break;
    case Part::rounds: open_round(state_.first_round); break;
    case Part::evaluate: evaluate(); break;
    case Part::whole: break;
  }
}

void Transition::restart() {
  extend_deadline();
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

Participant* Transition::open_participant(const DeviceId& device, const TaskId& task) {
  const auto found = state_.participants.find(device);
  const bool open =
      found != state_.participants.end() && found->second.task == task && found->second.answer == Answer::none;
  return open ? &found->second : nullptr;
}

std::int64_t Transition::count(Answer answer) const {
  return std::ranges::count_if(state_.participants,
                               [answer](const auto& entry) { return entry.second.answer == answer; });
}

void Transition::enter(Phase phase) {
  state_.phase = phase;
  extend_deadline();
}

void Transition::extend_deadline() {
  state_.deadline = now_ + std::chrono::seconds(state_.spec.deadline_seconds);
}

void Transition::over(Phase phase, std::string reason) {
  state_.phase = phase;
  state_.reason = std::move(reason);
  actions_.push_back(RunOver{});
}

void Transition::cancel(const DeviceId& device, const Participant& participant, const std::string& reason) {
  actions_.push_back(CancelTask{device, participant.task, participant.round, reason});
}

void Transition::cancel_open_tasks(const std::string& reason) {
  for (const auto& [device, participant] : state_.participants) {
    if (participant.answer == Answer::none) {
      cancel(device, participant, reason);
    }
  }
}

void Transition::send(const DeviceId& device, const Participant& participant) {
  const bool evaluate_first = participant.kind == TaskKind::train && state_.spec.evaluate && participant.round > 1;
  const std::uint64_t seed =
      participant.kind == TaskKind::init ? state_.spec.seed : task_seed(state_.spec.seed, participant.round, device);
  actions_.push_back(SendTask{device, participant.task, participant.kind, participant.round, evaluate_first, seed});
}

void Transition::add_participant(const DeviceId& device, TaskKind kind) {
  const Participant participant{task_id(state_.id, kind_letter(kind), state_.round, device), kind, Answer::none,
                                state_.round, state_.model};
  state_.participants[device] = participant;
  send(device, participant);
}

void Transition::evaluate() {
  state_.participants.clear();
  enter(Phase::evaluating);
  for (const DeviceId& device : state_.available) {
    add_participant(device, TaskKind::evaluate);
  }
  finish_when_evaluated();
}

void Transition::finish_when_evaluated() {
  if (count(Answer::none) == 0) {
    finish();
  }
}

void Transition::finish() {
  cancel_open_tasks("the evaluation is closed");
  actions_.push_back(EvaluationClosed{state_.round});
  over(Phase::finished, state_.round < last_round(state_) ? "the run's goal was reached" : "");
}

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

std::vector<Action> begin_part(RunState& state, SteadyTime now) {
  Transition transition(state, now);
  transition.begin_part();
  return transition.take();
}

std::vector<Action> on_restart(RunState& state, SteadyTime now) {
  Transition transition(state, now);
  transition.restart();
  return transition.take();
}

}  // namespace flops::rounds
