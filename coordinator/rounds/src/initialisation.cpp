// From waiting to the first model.
#include <algorithm>
#include <utility>

#include "transition.hpp"

namespace flops::rounds {

namespace {

constexpr std::int64_t max_failed_initialisations = 3;

}  // namespace

// Who asked for the part can ask others, so it does not wait for devices, but for those that are on their way.
void Transition::begin_or_fail() {
  const std::size_t needed =
      state_.part == Part::initialise ? std::size_t{1} : static_cast<std::size_t>(state_.spec.min_fit);
  // Sites that were there before this coordinator's restart are waited for: one alone is enough to begin.
  const bool all_back = now_ >= state_.deadline || std::cmp_greater_equal(state_.available.size(), state_.least_wanted);
  if (state_.available.size() >= needed && all_back) {
    state_.reason.clear();
    begin_part();
    return;
  }
  state_.reason = fmt::format("{} of {} {} with the data '{}' are online", state_.available.size(),
                              std::max(needed, static_cast<std::size_t>(state_.least_wanted)),
                              state_.spec.clusters.by == Grouping::By::sites ? "sites" : "devices", state_.spec.data);
  if (now_ >= state_.deadline) {
    over(Phase::failed, state_.reason);
  }
}

void Transition::deadline_of_waiting() {
  if (state_.part != Part::whole) {
    begin_or_fail();
  }
}

void Transition::start_when_possible() {
  if (state_.part != Part::whole) {
    begin_or_fail();
    return;
  }
  const auto wanted = static_cast<std::size_t>(state_.spec.min_available);
  if (state_.available.size() < wanted) {
    const Grouping& clusters = state_.spec.clusters;
    state_.reason = clusters.inside()
                        ? fmt::format("{} of {} clusters have enough devices with the data '{}' online",
                                      state_.available.size(), wanted, state_.spec.data)
                        : fmt::format("{} of {} {} with the data '{}' are online", state_.available.size(), wanted,
                                      clusters.by == Grouping::By::sites ? "sites" : "devices", state_.spec.data);
    return;
  }
  state_.reason.clear();
  enter(Phase::initialising);
  initialise_when_nobody_does();
}

const DeviceId* Transition::unasked() const {
  const auto found = std::ranges::find_if(
      state_.available, [this](const DeviceId& device) { return !state_.participants.contains(device); });
  return found == state_.available.end() ? nullptr : &*found;
}

// Initial parameters are made by one device (the coordinator has no LibTorch); the lowest id that has not failed.
void Transition::initialise_when_nobody_does() {
  const DeviceId* device = unasked();
  if (count(Answer::none) == 0 && device != nullptr) {
    add_participant(*device, wire::TaskKind::init);
  }
}

void Transition::deadline_of_initialisation() {
  enter(Phase::initialising);
  if (unasked() == nullptr) {
    // Whoever was asked may still come back.
    if (count(Answer::none) > 0) {
      state_.reason = fmt::format("no initial model after {} s from the device that makes it, and no other is online",
                                  state_.spec.deadline_seconds);
    }
    return;
  }
  for (auto& [device, participant] : state_.participants) {
    if (participant.answer == Answer::none) {
      participant.answer = Answer::failed;
      cancel(device, participant, "it took too long");
    }
  }
  initialise_when_nobody_does();
}

void Transition::initialisation_failed(const std::string& why) {
  ++state_.failed_initialisations;
  enter(Phase::initialising);
  if (state_.failed_initialisations < max_failed_initialisations) {
    initialise_when_nobody_does();
    // As many as the run needs were asked, and none could: no use waiting for others.
    if (count(Answer::none) > 0 || std::cmp_less(state_.participants.size(), state_.spec.min_available)) {
      return;
    }
  }
  over(Phase::failed, fmt::format("no device could make the initial model; the last one: {}", why));
}

}  // namespace flops::rounds
