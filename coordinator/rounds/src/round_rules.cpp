// Whom a round asks, when it closes, what becomes of those that are late.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "transition.hpp"

namespace flops::rounds {

using wire::TaskKind;

namespace {

std::size_t rounded_up(double count) {
  // 10 * 0.7 is a little more than 7.
  return static_cast<std::size_t>(std::ceil(count - 1e-9));
}

}  // namespace

void Transition::open_round(std::int64_t round) {
  state_.round = round;
  state_.wanted = 0;
  state_.overdue = false;
  drop_too_late();
  enter(Phase::fitting);
  actions_.push_back(OpenRound{round});
  top_up();
}

// Who has answered is free; who has not goes on with the old task while that is not too old.
void Transition::drop_too_late() {
  std::erase_if(state_.participants, [this](const auto& entry) {
    const auto& [device, participant] = entry;
    if (participant.answer != Answer::none) {
      return true;
    }
    if (staleness(state_, participant) <= state_.spec.max_staleness) {
      return false;
    }
    cancel(device, participant, "the round is closed");
    return true;
  });
}

bool Transition::asked_in_this_round(const Participant& participant) const {
  return participant.round == state_.round;
}

// Whether the round may count on this device.
bool Transition::useful(const DeviceId& device, const Participant& participant) const {
  switch (participant.answer) {
    case Answer::contributed: return true;
    case Answer::failed: return false;
    case Answer::none: break;
  }
  // After the deadline a device that is away is replaced, if there is another; after its second one whoever is silent.
  const bool counted_on = !state_.overdue || state_.available.contains(device);
  return asked_in_this_round(participant) && counted_on && participant.deadlines < 2;
}

void Transition::pass_over_the_silent() {
  for (auto& [device, participant] : state_.participants) {
    if (participant.answer == Answer::none && asked_in_this_round(participant)) {
      ++participant.deadlines;
    }
  }
}

// Gives tasks to as many available devices as the round wants, and over_select more, counting those that already have
// or had one.
void Transition::top_up() {
  if (state_.spec.mode == Mode::async) {
    ask_all_that_are_free();
    return;
  }
  const auto minimum = static_cast<std::size_t>(state_.spec.min_fit);
  const auto count_on = static_cast<std::size_t>(std::ranges::count_if(
      state_.participants, [this](const auto& entry) { return useful(entry.first, entry.second); }));
  const bool begun =
      std::ranges::any_of(state_.participants, [this](const auto& entry) { return asked_in_this_round(entry.second); });
  if (begun && count_on >= minimum) {
    return;
  }
  const auto share =
      static_cast<std::size_t>(std::ceil(state_.spec.fraction * static_cast<double>(state_.available.size())));
  const std::size_t wanted = std::max({minimum, share, static_cast<std::size_t>(state_.least_wanted)});
  state_.wanted = static_cast<std::int64_t>(wanted);
  const std::size_t asked = wanted + rounded_up(static_cast<double>(wanted) * state_.spec.over_select);
  std::set<DeviceId> fresh;
  std::ranges::copy_if(state_.available, std::inserter(fresh, fresh.end()),
                       [this](const DeviceId& device) { return !state_.participants.contains(device); });
  const std::size_t missing = asked > count_on ? asked - count_on : 0;
  const auto chosen = state_.spec.candidates > 0
                          ? select_by_loss(fresh, state_.losses, static_cast<std::size_t>(state_.spec.candidates),
                                           missing, state_.spec.seed, state_.round)
                          : select(fresh, missing, state_.spec.seed, state_.round);
  for (const DeviceId& device : chosen) {
    add_participant(device, TaskKind::train);
  }
}

void Transition::ask_all_that_are_free() {
  for (const DeviceId& device : state_.available) {
    if (!state_.participants.contains(device)) {
      add_participant(device, TaskKind::train);
    }
  }
}

bool Transition::complete() const {
  const std::int64_t contributed = count(Answer::contributed);
  if (state_.spec.mode == Mode::async) {
    return contributed >= state_.spec.buffer;
  }
  if (state_.spec.over_select > 0 && state_.wanted > 0 && contributed >= state_.wanted) {
    return true;
  }
  // Those at tasks of earlier rounds are welcome but not waited for.
  const bool all_answered = std::ranges::none_of(state_.participants, [this](const auto& entry) {
    return entry.second.answer == Answer::none && asked_in_this_round(entry.second);
  });
  return all_answered && contributed >= state_.spec.min_fit;
}

void Transition::close_when_complete() {
  if (complete()) {
    close_round();
  }
}

void Transition::close_round() {
  if (state_.sum_goes_up) {
    cancel_open_tasks("the round is closed");
    over(Phase::finished, "");
    return;
  }
  state_.phase = Phase::aggregating;
  actions_.push_back(CloseRound{state_.round});
}

void Transition::deadline_of_round() {
  const std::int64_t contributed = count(Answer::contributed);
  if (contributed >= state_.spec.min_fit) {
    close_round();
    return;
  }
  state_.overdue = true;
  pass_over_the_silent();
  extend_deadline();
  const std::string last_problem = state_.reason;
  top_up();
  // Enough devices were there and answered, but not enough of them could. Otherwise somebody may still come.
  const std::int64_t failed = count(Answer::failed);
  if (count(Answer::none) == 0 && failed > 0 && contributed + failed >= state_.spec.min_fit) {
    over(Phase::failed,
         fmt::format("round {} has {} of {} updates and nobody is left to ask; last problem: {}", state_.round,
                     contributed, state_.spec.min_fit, last_problem.empty() ? "none" : last_problem));
    return;
  }
  state_.reason = why_it_waits();
}

std::string Transition::why_it_waits() const {
  const auto asked = count(Answer::none);
  const auto online = std::ranges::count_if(state_.participants, [this](const auto& entry) {
    return entry.second.answer == Answer::none && state_.available.contains(entry.first);
  });
  return fmt::format(
      "round {} has {} of {} updates after {} s and waits for devices: {} have a task, {} of them are "
      "online; {} failed",
      state_.round, count(Answer::contributed), state_.spec.min_fit, state_.spec.deadline_seconds, asked, online,
      count(Answer::failed));
}

}  // namespace flops::rounds
