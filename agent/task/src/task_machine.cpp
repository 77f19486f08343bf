#include "machine.hpp"

#include <algorithm>

namespace flops::agent {
namespace {

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

}  // namespace

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
  state().continued.reset();
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
  // While it encodes only what is kept needs the base from the store.
  const bool encodes_kept = in(Phase::encoding) && state().continued && state().continued->ends;
  if (in(Phase::fetching) || in(Phase::assembling) || in(Phase::ready) || in(Phase::running) || encodes_kept) {
    act(action::StopWork{});
    leave(wire::AckStatus::need_full, "the base model is not held here any more");
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
  const bool counts = event.receipt.status != wire::ReceiptStatus::rejected;
  if (ours || counts) {
    if (counts && waits_for_receipt(state())) {
      act(action::AdoptVariate{});
    }
    finish();
  }
}

void Machine::operator()(const event::Connected&) {
  if (!open()) {
    return;
  }
  say_again();
  if (in(Phase::ready) && state().continued) {
    encode_kept();  // needs no trainer, and so no good conditions
  }
  if (in(Phase::fetching)) {
    act(action::Fetch{});
  }
}

void Machine::operator()(const event::Restarted& event) {
  if (in(Phase::running) || in(Phase::encoding)) {
    if (state().interruptions + 1 >= max_interruptions) {
      const bool training = in(Phase::running);
      const std::string reason = fmt::format(
          "interrupted {} times: power, memory or the agent itself fails during training", max_interruptions);
      state().interruptions = training && state().continued ? 0 : max_interruptions;
      training ? end_training(reason) : give_up(reason);
      return;
    }
    ++state().interruptions;
    go(Phase::ready);
    if (state().continued) {
      state().continued->ends = false;  // whoever chooses the task next knows whether there is a link
    }
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
  state().continued.reset();
  offer(std::move(result));
}

void Machine::retry(Phase phase, const Error& error) {
  if (++state().attempts >= max_attempts) {
    state().attempts = max_attempts;
    end_training(fmt::format("failed {} times: {}", max_attempts, error.what));
    return;
  }
  go(phase);
  if (phase == Phase::assembling) {
    act(action::Assemble{});
  }
}

void Machine::finish() {
  if (open()) {
    state().continued.reset();
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

Step on_event(const TaskState& state, const Event& event) {
  Machine machine(state);
  std::visit(machine, event);
  return machine.take();
}

}  // namespace flops::agent
