#include "flops/agent_task/task_machine.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace flops::agent {
namespace {

constexpr std::uint64_t max_weight = (1ULL << 31U) - 1;

// At most wire::max_reason bytes, cut between two UTF-8 characters.
std::string as_reason(std::string text) {
  if (text.size() > wire::max_reason) {
    std::size_t end = wire::max_reason;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
      --end;
    }
    text.resize(end);
  }
  return text;
}

bool retryable(ErrorKind kind) {
  return kind == ErrorKind::transient || kind == ErrorKind::resource;
}

bool wants_training(const wire::Task& task) {
  return task.kind != wire::TaskKind::evaluate;
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
  void retry(Phase phase, const Error& error);
  void finish();
  void say_again();

  Step step_;
};

void Machine::take_new(const event::Arrived& event) {
  const wire::Task& task = event.task;
  state() = TaskState{};
  state().task = task;
  const bool needs_base = task.kind != wire::TaskKind::init;
  if (!event.refusal.empty()) {
    leave(wire::AckStatus::declined, event.refusal);
  } else if (!needs_base || event.holds_base) {
    go(Phase::ready);
    act(action::SendAck{});
  } else if (!task.base_blob || (!task.base_blob_base.empty() && !event.holds_delta_base)) {
    leave(wire::AckStatus::need_full, "the base of the delta is not held here");
  } else {
    go(Phase::fetching);
    act(action::SendAck{});
    act(action::Fetch{});
  }
}

void Machine::arrived_again(const event::Arrived& event) {
  // The coordinator may offer another way to the same base (complete instead of a delta, say).
  const bool other_blob = in(Phase::fetching) && (event.task.base_blob != state().task.base_blob ||
                                                  event.task.base_blob_base != state().task.base_blob_base);
  if (other_blob) {
    act(action::StopWork{});
    act(action::DropBlob{});
    take_new(event);
    return;
  }
  say_again();
}

// The task is not ours (any more), but may come again.
void Machine::leave(wire::AckStatus status, std::string reason) {
  act(action::SendAck{status, as_reason(std::move(reason))});
  act(action::Forget{});
  go(Phase::absent);
}

void Machine::operator()(const event::Arrived& event) {
  if (in(Phase::absent)) {
    take_new(event);
  } else if (open()) {
    arrived_again(event);
  }
}

void Machine::operator()(const event::ChunksComplete&) {
  if (in(Phase::fetching)) {
    go(Phase::assembling);
    act(action::Assemble{});
  }
}

void Machine::operator()(const event::Assembled&) {
  if (in(Phase::assembling)) {
    go(Phase::ready);
  }
}

void Machine::operator()(const event::AssembleFailed& event) {
  if (!in(Phase::assembling)) {
    return;
  }
  if (event.error.kind == ErrorKind::cancelled) {
    return;  // the agent stops; the next start assembles again
  }
  if (event.error.kind == ErrorKind::corrupt && state().attempts + 1 < max_attempts) {
    ++state().attempts;
    go(Phase::fetching);
    act(action::DropBlob{});
    act(action::Fetch{});
  } else if (retryable(event.error.kind)) {
    retry(Phase::assembling, event.error);
  } else {
    give_up(event.error.what);
  }
}

void Machine::operator()(const event::BaseMissing&) {
  if (in(Phase::fetching) || in(Phase::assembling) || in(Phase::ready) || in(Phase::running)) {
    act(action::StopWork{});
    leave(wire::AckStatus::need_full, "the base model is not held here any more");
  }
}

void Machine::operator()(const event::Chosen&) {
  if (in(Phase::ready)) {
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
    give_up("training diverged: the loss is not finite");
  } else if (event.outcome.weight == 0 || event.outcome.weight > max_weight) {
    give_up(fmt::format("{} training samples: between 1 and {} are needed", event.outcome.weight, max_weight));
  } else {
    go(Phase::encoding);
    act(action::Encode{});
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
    give_up(event.error.what);
  }
}

void Machine::operator()(const event::Encoded& event) {
  if (!in(Phase::encoding)) {
    return;
  }
  const wire::Task& task = state().task;
  wire::ResultMessage result;
  result.ref = task.ref;
  result.update = event.update;
  result.codec = task.codec;
  result.layout = event.outcome.layout;
  result.base = task.base;
  result.weight = event.outcome.weight;
  result.train_loss = event.outcome.train_loss;
  result.train_seconds = event.outcome.train_seconds;
  result.layout_text = event.outcome.layout_text;
  offer(std::move(result));
}

void Machine::operator()(const event::EncodeFailed& event) {
  if (!in(Phase::encoding)) {
    return;
  }
  if (event.error.kind == ErrorKind::cancelled) {
    go(Phase::ready);
  } else if (retryable(event.error.kind)) {
    retry(Phase::ready, event.error);  // what was trained is gone with the failure
  } else {
    give_up(event.error.what);
  }
}

void Machine::operator()(const event::Granted& event) {
  if (!said() || state().result->update.size == 0 || state().result->update.sha256 != event.grant.blob) {
    return;
  }
  const std::uint32_t count = blob::chunk_count(state().result->update.size);
  blob::ChunkRanges ranges;
  for (const auto& [first, last] : event.grant.chunks) {
    if (first <= last && first < count) {
      ranges.emplace_back(first, std::min(last, count - 1));
    }
  }
  if (!ranges.empty()) {
    go(Phase::uploading);
    act(action::SendChunks{std::move(ranges)});
  }
}

void Machine::operator()(const event::Receipted& event) {
  if (!open()) {
    return;
  }
  // `accepted` and `duplicate` mean that the contribution counts, whichever update brought it. A rejection is
  // about one update only.
  const bool ours = said() && (event.receipt.blob.empty() || event.receipt.blob == state().result->update.sha256);
  if (ours || event.receipt.status != wire::ReceiptStatus::rejected) {
    finish();
  }
}

void Machine::operator()(const event::Connected&) {
  if (!open()) {
    return;
  }
  say_again();
  if (in(Phase::fetching)) {
    act(action::Fetch{});
  }
}

void Machine::operator()(const event::Restarted& event) {
  if (in(Phase::running) || in(Phase::encoding)) {
    if (state().interruptions + 1 >= max_interruptions) {
      state().interruptions = max_interruptions;
      give_up(fmt::format("interrupted {} times: power, memory or the agent itself fails during training",
                          max_interruptions));
      return;
    }
    ++state().interruptions;
    go(Phase::ready);
  }
  // The base model is kept while training goes on already: it may not have got that far.
  const bool base_lost = in(Phase::ready) && !event.holds_base && state().task.base_blob;
  if (in(Phase::assembling) || base_lost) {
    go(Phase::fetching);
    act(action::Fetch{});
  } else if (in(Phase::uploading)) {
    go(Phase::offering);  // grants are not kept: the coordinator says again what it misses
  }
}

void Machine::offer(wire::ResultMessage result) {
  state().result = std::move(result);
  go(Phase::offering);
  act(action::SendResult{});
}

void Machine::give_up(std::string reason) {
  wire::ResultMessage result;
  result.ref = state().task.ref;
  result.ok = false;
  result.reason = as_reason(std::move(reason));
  act(action::DropBlob{});
  offer(std::move(result));
}

void Machine::retry(Phase phase, const Error& error) {
  if (++state().attempts >= max_attempts) {
    state().attempts = max_attempts;
    give_up(fmt::format("failed {} times: {}", max_attempts, error.what));
    return;
  }
  go(phase);
  if (phase == Phase::assembling) {
    act(action::Assemble{});
  }
}

void Machine::finish() {
  if (open()) {
    go(Phase::finished);
    act(action::StopWork{});
    act(action::Forget{});
  }
}

// What the coordinator may not know yet.
void Machine::say_again() {
  if (!said()) {
    act(action::SendAck{});
  }
  if (state().metrics && !state().metrics_delivered) {
    act(action::SendMetrics{});
  }
  if (said()) {
    act(action::SendResult{});
  }
}

bool older(const wire::TaskRef& a, const wire::TaskRef& b) {
  return std::tie(a.cycle, a.round) < std::tie(b.cycle, b.round);
}

}  // namespace

Step on_event(const TaskState& state, const Event& event) {
  Machine machine(state);
  std::visit(machine, event);
  return machine.take();
}

Admission admit(const std::vector<const TaskState*>& open, const wire::Task& task) {
  Admission admission;
  for (const TaskState* other : open) {
    const wire::TaskRef& theirs = other->task.ref;
    if (theirs.task == task.ref.task) {
      return {};  // known already: the machine answers
    }
    if (theirs.run != task.ref.run) {
      continue;
    }
    if (older(task.ref, theirs)) {
      return {fmt::format("round {} of run {} is at work here already", theirs.round, theirs.run), {}};
    }
    admission.superseded.push_back(theirs.task);
  }
  if (open.size() - admission.superseded.size() >= max_open_tasks) {
    return {fmt::format("{} tasks are at work here already", open.size()), {}};
  }
  return admission;
}

}  // namespace flops::agent
