// The trainer's part of a task's life: chosen, measured, trained, perhaps for more rounds while offline, encoded.
#include <cmath>

#include "machine.hpp"

namespace flops::agent {
namespace {

constexpr std::uint64_t max_weight = (1ULL << 31U) - 1;

// More than can be said is 0, not known: better than a wrong number.
std::uint64_t known_steps(std::uint64_t steps) {
  return steps > static_cast<std::uint64_t>(wire::max_steps) ? 0 : steps;
}

std::uint64_t steps_together(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t first = known_steps(a);
  const std::uint64_t second = known_steps(b);
  return first == 0 || second == 0 ? 0 : known_steps(first + second);
}

bool wants_training(const wire::Task& task) {
  return task.kind != wire::TaskKind::evaluate;
}

}  // namespace

void Machine::operator()(const event::Chosen& event) {
  if (!in(Phase::ready)) {
    return;
  }
  if (rounds_kept() > event.offline_rounds) {
    encode_kept();  // connected again, or the configuration allows fewer than before
  } else {
    go(Phase::running);
    act(action::Train{});
  }
}

void Machine::operator()(const event::Evaluated& event) {
  if (!in(Phase::running) || state().metrics) {
    return;
  }
  const wire::Metrics& metrics = event.metrics;
  if (!std::isfinite(metrics.loss) || !std::isfinite(metrics.accuracy) || metrics.samples == 0) {
    act(action::StopWork{});
    give_up("the evaluation of the base model gave no finite loss");
    return;
  }
  state().metrics = metrics;
  act(action::SendMetrics{});
}

void Machine::operator()(const event::MetricsDelivered&) {
  if (open() && state().metrics) {
    state().metrics_delivered = true;
  }
}

// Attempts are limited so that a task that never gets anywhere ends; this one does.
void Machine::operator()(const event::Checkpointed&) {
  if (in(Phase::running)) {
    state().attempts = 0;
    state().interruptions = 0;
  }
}

void Machine::operator()(const event::Trained& event) {
  if (!in(Phase::running)) {
    return;
  }
  if (!wants_training(state().task)) {
    wire::ResultMessage result;
    result.ref = state().task.ref;
    offer(std::move(result));
  } else if (!std::isfinite(event.outcome.train_loss)) {
    end_training("training diverged: the loss is not finite");
  } else if (event.outcome.weight == 0 || event.outcome.weight > max_weight) {
    end_training(fmt::format("{} training samples: between 1 and {} are needed", event.outcome.weight, max_weight));
  } else if (state().task.kind == wire::TaskKind::train && rounds_kept() < event.offline_rounds &&
             rounds_kept() + 1 < max_local_rounds && !event.parameters.empty()) {
    Continued next{rounds_kept() + 1, event.parameters, event.outcome, false};
    next.outcome.steps = steps_so_far(event.outcome);
    next.outcome.train_seconds += state().continued ? state().continued->outcome.train_seconds : 0;
    state().continued = std::move(next);
    // A round that ended is a good one: the next has its own attempts.
    state().attempts = 0;
    state().interruptions = 0;
    go(Phase::ready);
    act(action::Keep{});
  } else {
    go(Phase::encoding);
    act(action::Encode{});
  }
}

void Machine::operator()(const event::KeptMissing&) {
  if (!open() || !state().continued) {
    return;
  }
  state().continued.reset();
  if (in(Phase::running) || in(Phase::encoding)) {
    go(Phase::ready);
  }
}

void Machine::operator()(const event::TrainFailed& event) {
  if (!in(Phase::running)) {
    return;
  }
  if (event.error.kind == ErrorKind::cancelled) {
    go(Phase::ready);  // the agent stops; not the task's fault
  } else if (retryable(event.error.kind)) {
    retry(Phase::ready, event.error);
  } else {
    end_training(event.error.what);
  }
}

void Machine::operator()(const event::Encoded& event) {
  if (!in(Phase::encoding)) {
    return;
  }
  const wire::Task& task = state().task;
  const auto& continued = state().continued;
  const bool of_kept = continued && continued->ends;
  const Outcome& outcome = of_kept ? continued->outcome : event.outcome;
  wire::ResultMessage result;
  result.ref = task.ref;
  result.update = event.update;
  result.codec = event.codec;
  result.layout = outcome.layout;
  result.base = task.base;
  result.weight = outcome.weight;
  result.train_loss = outcome.train_loss;
  result.train_seconds = outcome.train_seconds + (continued && !of_kept ? continued->outcome.train_seconds : 0);
  result.layout_text = outcome.layout_text;
  result.local_rounds = rounds_kept() + (of_kept ? 0 : 1);
  result.steps = static_cast<std::int64_t>(of_kept ? outcome.steps : steps_so_far(outcome));
  state().continued.reset();
  offer(std::move(result));
}

void Machine::operator()(const event::EncodeFailed& event) {
  if (!in(Phase::encoding)) {
    return;
  }
  if (state().continued) {
    state().continued->ends = false;
  }
  if (event.error.kind == ErrorKind::cancelled) {
    go(Phase::ready);
  } else if (retryable(event.error.kind)) {
    retry(Phase::ready, event.error);  // what the last round trained is gone with the failure
  } else {
    give_up(event.error.what);
  }
}

// A further local round failed for good: the ones before it are not lost with it.
void Machine::end_training(std::string reason) {
  if (in(Phase::running) && state().continued) {
    encode_kept();
  } else {
    give_up(std::move(reason));
  }
}

// Of all local rounds, when the last one gave this.
std::uint64_t Machine::steps_so_far(const Outcome& last) const {
  const auto& continued = step_.next.continued;
  return continued ? steps_together(continued->outcome.steps, last.steps) : known_steps(last.steps);
}

void Machine::encode_kept() {
  state().continued->ends = true;
  go(Phase::encoding);
  act(action::Encode{});
}

std::uint64_t seed_of_local_round(std::uint64_t task_seed, int rounds) {
  constexpr std::uint64_t step = 0x9E3779B97F4A7C15;  // odd: no two rounds of a task have the same seed
  return task_seed + static_cast<std::uint64_t>(rounds) * step;
}

}  // namespace flops::agent
