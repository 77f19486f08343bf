// Updates: offered, granted, received, checked.
#include <algorithm>
#include <iterator>
#include <memory>

#include "flops/core/log.hpp"
#include "flops/health/conditions.hpp"
#include "flops/rounds/site.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/control_variates.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using rounds::Answer;
using wire::ReceiptStatus;
using wire::TaskKind;

// The device lets go of everything: so what the receipt says, and what followed from it, is on the disk first. Without
// a receipt the device offers again.
void RunController::receipt(const DeviceId& device, const wire::TaskRef& ref, const Digest& blob, ReceiptStatus status,
                            std::string_view reason) {
  if (!records_.settled()) {
    return;
  }
  if (auto durable = parts_.registry.sync(); !durable) {
    log::error("updates", "syncing what a receipt for {} says: {}", device, durable.error().what);
    return;
  }
  parts_.link.command(
      device, "receipt",
      wire::encode(wire::Receipt{ref, blob, status, std::string(health::cut(reason, wire::max_reason))}));
}

void RunController::reject(const DeviceId& device, const ClusterId& node, const wire::ResultMessage& result,
                           const std::string& reason) {
  ++refusals_["update"];
  log::warn("refused", "update of {} in round {}: {}", device, result.ref.round, reason);
  const rounds::RunState* state = active_ ? active_->tree.node(node) : nullptr;
  if (state != nullptr && state->round > 0) {
    (void)parts_.registry.count_rejected(active_->id(), state->round, node);
  }
  sweep_due_ = true;
  feed(node, rounds::TaskFailed{device, result.ref.task, fmt::format("update refused: {}", reason)});
  receipt(device, result.ref, result.update.sha256, ReceiptStatus::rejected, reason);
}

// The device's, if this is its task and has no answer yet.
RunController::Seat RunController::open_seat(const DeviceId& device, const wire::TaskRef& ref) {
  if (!active_ || ref.run != active_->id()) {
    return {};
  }
  const Seat seat = seat_of(device);
  const bool open = seat.participant != nullptr && seat.participant->task == ref.task &&
                    seat.participant->round == ref.round && seat.participant->answer == Answer::none;
  return open ? seat : Seat{};
}

void RunController::on_result(const DeviceId& device, const wire::ResultMessage& result) {
  const Seat seat = open_seat(device, result.ref);
  if (seat.participant == nullptr) {
    answer_late(device, result);
    return;
  }
  const rounds::Participant participant = *seat.participant;
  if (!result.ok) {
    log::warn("runs", "{} failed its task of round {}: {}", device, result.ref.round, result.reason);
    feed(seat.node, rounds::TaskFailed{device, result.ref.task, result.reason});
    receipt(device, result.ref, {}, ReceiptStatus::accepted);
    return;
  }
  if (participant.kind == TaskKind::evaluate) {
    feed(seat.node, rounds::Evaluated{device, result.ref.task});
    receipt(device, result.ref, {}, ReceiptStatus::accepted);
    return;
  }
  tensor::Layout layout;
  if (const std::string problem = problem_of(result, participant, layout); !problem.empty()) {
    reject(device, seat.node, result, problem);
    return;
  }
  log::debug("updates", "task {}: {} offers {} bytes", result.ref.task, device, result.update.size);
  begin_upload(device, seat.node, result);
}

// The task is not open (any more): say what became of it, so that the device can let go.
void RunController::answer_late(const DeviceId& device, const wire::ResultMessage& result) {
  if (next_due_) {
    return;  // perhaps of the run that could not be read yet: the device will ask again
  }
  auto row = parts_.registry.run(result.ref.run);
  if (!row) {
    return;  // the database is in trouble: the device will ask again
  }
  const auto is = [&](std::string_view kind) {
    return rounds::is_task_of(result.ref.task, result.ref.run, kind, result.ref.round, device);
  };
  const bool ours = *row && (is("r") || is("e") || is("i"));
  if (!ours) {
    refuse(device, "up/result", "unknown_task", "there is no such task of this device");
    receipt(device, result.ref, result.update.sha256, ReceiptStatus::rejected, "there is no such task of this device");
    return;
  }
  auto counted = parts_.registry.has_contributed(result.ref.run, result.ref.task, device);
  if (!counted) {
    return;
  }
  if (*counted) {
    receipt(device, result.ref, result.update.sha256, ReceiptStatus::duplicate, "it was counted already");
    return;
  }
  if (may_be_asked_again(**row, device, result.ref)) {
    log::info("updates", "task {}: {} offers what was not asked for yet", result.ref.task, device);
    return;  // it offers again
  }
  receipt(device, result.ref, result.update.sha256, ReceiptStatus::rejected, "the round is closed");
}

// A power cut may have taken back that the round was opened, or whom it asked: then the same tasks are given again.
bool RunController::may_be_asked_again(const registry::RunRow& run, const DeviceId& device, const wire::TaskRef& ref) {
  const auto open_in = [&](const rounds::RunState& node) {
    return ref.round > node.round || (ref.round == node.round && !node.participants.contains(device));
  };
  if (rounds::is_over(run.state.phase)) {
    return false;
  }
  if (!run.state.spec.clusters.inside()) {
    return open_in(run.state);
  }
  const Device* known = parts_.fleet.find(device);
  if (known == nullptr || !known->row.hello) {
    return false;
  }
  const ClusterId cluster = rounds::cluster_of(run.state.spec.clusters, device, known->row.hello->labels);
  if (const auto part = run.parts.find(cluster); part != run.parts.end()) {
    return open_in(part->second);
  }
  const std::int64_t cycle = rounds::cycle_of(run.state.spec, ref.round);
  const bool asked = run.state.participants.contains(DeviceId::parse(cluster.str()).value_or(DeviceId()));
  return cycle > run.state.round || (cycle == run.state.round && !asked);
}

// What is wrong with an offered update, as far as that can be said before its bytes are here.
std::string RunController::problem_of(const wire::ResultMessage& result, const rounds::Participant& participant,
                                      tensor::Layout& layout) const {
  const Active& run = *active_;
  if (result.update.size == 0) {
    return "there is no update";
  }
  const bool sum = result.codec == wire::sum_codec && rounds::offers_sum(run.spec(), participant.kind);
  if (result.codec != run.spec().codec && !sum) {
    return fmt::format("codec '{}'; the task's is '{}'", result.codec, run.spec().codec);
  }
  if (participant.kind == TaskKind::init) {
    auto parsed = tensor::Layout::parse(result.layout_text);
    if (!parsed) {
      return fmt::format("layout: {}", parsed.error().what);
    }
    layout = *std::move(parsed);
    const bool variates = run.algorithm->client().control_variates;
    if (auto model = tensor::without_variates(layout); variates && !model) {
      return fmt::format("layout: {}", model.error().what);
    }
    if (layout.parameters() > static_cast<std::uint64_t>(parts_.config.limits.max_parameters)) {
      return fmt::format("{} parameters; limits.max_parameters is {}", layout.parameters(),
                         parts_.config.limits.max_parameters);
    }
  } else {
    layout = *run.layout;
    if (result.base != participant.base) {
      return fmt::format("base {}; the task's is {}", result.base.short_hex(), participant.base.short_hex());
    }
    const std::uint64_t most =
        run.tree.of_sites() ? tensor::max_total_weight : static_cast<std::uint64_t>(parts_.config.limits.max_weight);
    if (result.weight == 0 || result.weight > most) {
      return fmt::format("weight {}; 1 to {} samples are believable", result.weight, most);
    }
  }
  if (result.layout != layout.id()) {
    return fmt::format("layout {}; the run's is {}", result.layout.short_hex(), layout.id().short_hex());
  }
  const std::uint64_t limit = sum ? tensor::max_partial_sum_bytes(layout)
                                  : tensor::max_encoded_bytes(tensor::Codec::lossless, layout.parameters());
  if (result.update.size > limit) {
    return fmt::format("{} bytes; the codec never produces more than {}", result.update.size, limit);
  }
  return "";
}

void RunController::begin_upload(const DeviceId& device, const ClusterId& node, const wire::ResultMessage& result) {
  Active& run = *active_;
  const TaskId& task = result.ref.task;
  if (const auto open = run.uploads.find(task); open != run.uploads.end()) {
    if (open->second.staging && open->second.result.update == result.update) {
      grants_.resume(task);
      send_grants();
      return;
    }
    if (!open->second.staging) {
      return;  // complete; when it is summed the receipt follows
    }
    grants_.remove(task);
    parts_.updates.discard(*std::move(open->second.staging));
    run.uploads.erase(open);
  }
  if (parts_.updates.has(result.update.sha256)) {
    // Received before a restart, or the same bytes from another device.
    run.uploads.emplace(task, Upload{device, node, result, ++uploads_begun_, Upload::Stage::stored, std::nullopt, {}});
    ingest(task);
    return;
  }
  auto staging = parts_.updates.stage(result.update.sha256, result.update.size);
  if (!staging) {
    storage_in_trouble(staging.error().within(fmt::format("no room for the update of {}", device)));
    return;  // it will be offered again
  }
  run.uploads.emplace(task, Upload{device, node, result, ++uploads_begun_, Upload::Stage::receiving,
                                   *std::move(staging), parts_.clock.steady()});
  grants_.add(task, blob::chunk_count(result.update.size));
  send_grants();
}

void RunController::send_grants() {
  if (!active_) {
    return;
  }
  for (auto& [task, ranges] : grants_.next()) {
    const auto upload = active_->uploads.find(task);
    if (upload == active_->uploads.end()) {
      continue;
    }
    wire::Grant grant{upload->second.result.ref, upload->second.result.update.sha256, std::move(ranges)};
    parts_.link.command(upload->second.device, "grant", wire::encode(grant));
  }
}

RunController::Upload* RunController::upload_of(const DeviceId& device, const Digest& blob) {
  if (!active_) {
    return nullptr;
  }
  const Seat seat = seat_of(device);
  if (seat.participant == nullptr) {
    return nullptr;
  }
  const auto upload = active_->uploads.find(seat.participant->task);
  const bool same = upload != active_->uploads.end() && upload->second.result.update.sha256 == blob;
  return same ? &upload->second : nullptr;
}

void RunController::on_chunk(const DeviceId& device, const Digest& blob, std::uint32_t n, std::string_view bytes) {
  Upload* upload = upload_of(device, blob);
  if (upload == nullptr) {
    if (std::exchange(last_late_chunk_, std::pair(device, blob)) == std::pair(device, blob)) {
      return;  // said already: a whole window may be on its way when a round closes
    }
    refuse(device, "blob", "unknown_blob", "this blob was not offered, or its round is over");
    return;
  }
  if (!upload->staging) {
    return;  // complete already: a repeated chunk
  }
  const TaskId task = upload->result.ref.task;
  switch (grants_.arrived(task, n)) {
    case transfer::Grants::Arrival::duplicate: return;
    case transfer::Grants::Arrival::not_granted:
      refuse(device, "blob", "unknown_blob", fmt::format("chunk {} was not granted", n));
      return;
    case transfer::Grants::Arrival::fresh: break;
  }
  upload->last_chunk = parts_.clock.steady();
  const auto raw = std::as_bytes(std::span(bytes));
  if (auto written = upload->staging->write(n, raw); !written) {
    if (written.error().kind == ErrorKind::permanent) {
      refuse(device, "blob", "field", written.error().what);
    } else {
      storage_in_trouble(written.error().within(fmt::format("storing a chunk of {}", device)));
    }
    // Begun anew when it is offered again: the chunk counts as arrived, and would never be asked for.
    grants_.remove(task);
    parts_.updates.discard(*std::move(upload->staging));
    active_->uploads.erase(task);
    send_grants();
    return;
  }
  if (upload->staging->chunks().complete()) {
    log::debug("updates", "task {}: all bytes are here", task);
    grants_.remove(task);
    finish_upload(task);
  }
  send_grants();
}

// All bytes are here: verify and make durable, then sum.
void RunController::finish_upload(const TaskId& task) {
  Upload& upload = active_->uploads.at(task);
  auto staging = std::make_shared<blob::Staging>(*std::move(upload.staging));
  upload.staging.reset();
  upload.stage = Upload::Stage::checking;
  parts_.worker.submit([&updates = parts_.updates, staging] { return updates.finish(std::move(*staging)); },
                       [this, task, number = upload.number](Result<> finished) {
                         if (!is_current(task, number)) {
                           sweep_due_ = true;  // cancelled meanwhile
                           return;
                         }
                         if (finished) {
                           ingest(task);
                         } else {
                           ingested(task, std::move(finished));
                         }
                       });
}

}  // namespace flops::coordinator
