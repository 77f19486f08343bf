// The life of one task as a pure function: (state, event) -> (next state, actions).
//
// The caller persists `next` in one transaction with what DropBlob and Forget delete and with the data an event brought
// (an update, metrics), and carries the other actions out afterwards. Those need no table of their own: after a restart
// the event Restarted, and after every connect the event Connected, give the actions of the state again. Every event
// may come twice, late or out of order; one that does not fit the phase changes nothing.
//
// Offline training: Chosen and Trained say for how many rounds training may go on beyond the task's own (0 while the
// link is up). A round that ends while there are some left is kept (action Keep) and the task waits for the trainer
// again, to train from what is kept. One update is made at the end, from the true base to the last parameters: of the
// round that ends with none left, or of what is kept when the link comes back between two rounds, or when a further
// round fails.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "flops/agent_task/task_state.hpp"
#include "flops/blob/chunks.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/wire/messages.hpp"

namespace flops::agent {

namespace event {

struct Arrived {
  wire::Task task;
  bool holds_base = false;        // task.base is in the store
  bool holds_delta_base = false;  // task.base_blob_base is
  std::string refusal;            // why the device declines; empty: it does not
};
struct ChunksComplete {};
struct Assembled {};
// corrupt: the chunks are bad; permanent: it can never work; anything else: try again.
struct AssembleFailed {
  Error error;
};
struct BaseMissing {};  // the model the delta needs, or the base itself, is not held any more
struct Chosen {         // the trainer is free for this task
  int offline_rounds = 0;
};
struct Evaluated {
  wire::Metrics metrics;
};
struct MetricsDelivered {};
struct Checkpointed {};  // training got further, and that is not lost when the trainer dies
struct Trained {
  Outcome outcome;
  int offline_rounds = 0;
  Digest parameters = {};  // needed with offline_rounds
};
struct KeptMissing {};  // what earlier local rounds gave cannot be read any more: training begins again

struct TrainFailed {
  Error error;
};
struct Encoded {
  wire::BlobRef update;
  Outcome outcome;
  std::string codec = wire::lossless_codec;  // of the update
};
struct EncodeFailed {
  Error error;
};
struct Granted {
  wire::Grant grant;
};
struct Receipted {
  wire::Receipt receipt;
};
struct Cancelled {};
struct Superseded {};
struct Connected {};
struct Restarted {
  bool holds_base = true;  // task.base is in the store
};

}  // namespace event

using Event =
    std::variant<event::Arrived, event::ChunksComplete, event::Assembled, event::AssembleFailed, event::BaseMissing,
                 event::Chosen, event::Evaluated, event::MetricsDelivered, event::Checkpointed, event::Trained,
                 event::KeptMissing, event::TrainFailed, event::Encoded, event::EncodeFailed, event::Granted,
                 event::Receipted, event::Cancelled, event::Superseded, event::Connected, event::Restarted>;

namespace action {

struct SendAck {
  wire::AckStatus status = wire::AckStatus::accepted;
  std::string reason;
  bool operator==(const SendAck&) const = default;
};
struct Fetch {  // the missing chunks of task.base_blob
  bool operator==(const Fetch&) const = default;
};
struct Assemble {
  bool operator==(const Assemble&) const = default;
};
struct Train {  // from the base model, or from what is kept
  bool operator==(const Train&) const = default;
};
struct Keep {  // in the transaction: the trained parameters, for the next local round; the checkpoint goes
  bool operator==(const Keep&) const = default;
};
struct Encode {  // what was trained, or with continued->ends what is kept
  bool operator==(const Encode&) const = default;
};
struct SendMetrics {
  bool operator==(const SendMetrics&) const = default;
};
struct SendResult {
  bool operator==(const SendResult&) const = default;
};
struct SendChunks {
  blob::ChunkRanges ranges;  // inside the update
  bool operator==(const SendChunks&) const = default;
};
struct StopWork {  // whatever fetches, trains or uploads for this task
  bool operator==(const StopWork&) const = default;
};
struct DropBlob {  // fetched chunks of the base model, when they are of no use
  bool operator==(const DropBlob&) const = default;
};
struct AdoptVariate {  // in the transaction, before Forget: the control variate of this update is the run's now
  bool operator==(const AdoptVariate&) const = default;
};
struct Forget {  // update, its control variate, and chunks
  bool operator==(const Forget&) const = default;
};

}  // namespace action

using Action = std::variant<action::SendAck, action::Fetch, action::Assemble, action::Train, action::Keep,
                            action::Encode, action::SendMetrics, action::SendResult, action::SendChunks,
                            action::StopWork, action::DropBlob, action::AdoptVariate, action::Forget>;

struct Step {
  TaskState next;
  std::vector<Action> actions;
};

[[nodiscard]] Step on_event(const TaskState& state, const Event& event);

// Of shuffling and dropout in the local round after `rounds` finished ones: the task's own seed first, then others that
// follow from it. So training that went on offline ends in the same bytes however often it is interrupted.
[[nodiscard]] std::uint64_t seed_of_local_round(std::uint64_t task_seed, int rounds);

// At most this many tasks are taken at once.
inline constexpr std::size_t max_open_tasks = 64;

// A device's control variate follows from its last update, and whether that counts only the receipt says. So an update
// with one is not replaced by a newer task of its run, and training waits until it is decided.
[[nodiscard]] bool waits_for_receipt(const TaskState& state);
[[nodiscard]] bool must_wait(const std::vector<const TaskState*>& open, const TaskState& state);

// How a new task and the ones at work go together.
struct Admission {
  std::string refusal;             // not empty: decline
  std::vector<TaskId> superseded;  // older tasks of the same run, which end now
};
// Declined as well, unless it is an evaluation, while updates of other runs of `outbox_quota` bytes or more wait for
// their receipts: what is finished stays, new work has to wait. The outbox so holds less than that and the update of
// each open task.
[[nodiscard]] Admission admit(const std::vector<const TaskState*>& open, const wire::Task& task,
                              std::uint64_t outbox_quota);

}  // namespace flops::agent
