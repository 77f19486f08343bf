// Tasks: what a device is asked to do, and the model blobs it needs for that.
#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using wire::TaskKind;

wire::TaskRef RunController::reference(const rounds::Participant& participant) const {
  return {participant.task, active_->state.id, 1, active_->state.round};
}

void RunController::send_task(const DeviceId& device, bool complete_model) {
  Active& run = *active_;
  const auto found = run.state.participants.find(device);
  if (found == run.state.participants.end() || found->second.answer != rounds::Answer::none) {
    return;
  }
  const rounds::Participant& participant = found->second;
  std::optional<aggregation::EncodedModel> blob;
  wire::Task task;
  task.ref = reference(participant);
  task.kind = participant.kind;
  task.model = run.state.spec.model;
  task.codec = run.state.spec.codec;
  task.training = run.state.spec.training;
  task.deadline_seconds = run.state.spec.deadline_seconds;
  if (participant.kind == TaskKind::init) {
    task.seed = run.state.spec.seed;
  } else {
    task.seed = rounds::task_seed(run.state.spec.seed, run.state.round, device);
    task.data = run.state.spec.data;
    task.layout_text = run.layout->canonical();
    task.base = run.state.model;
    task.evaluate = participant.kind == TaskKind::train && run.state.spec.evaluate && run.state.round > 1;
    const Device* known = parts_.fleet.find(device);
    const bool delta =
        !complete_model && !run.previous.empty() && known != nullptr && known->models.contains(run.previous);
    const Digest base = delta ? run.previous : Digest();
    const auto encoded = run.encoded.find(base);
    if (encoded == run.encoded.end()) {
      encode(base);  // sends the task when it is there
      return;
    }
    blob = encoded->second;
    task.base_blob = wire::BlobRef{encoded->second.blob, encoded->second.bytes};
    task.base_blob_base = base;
  }
  log::debug("runs", "task {} goes to {}", task.ref.task, device);
  parts_.link.command(device, "task", wire::encode(task));
  // Behind the task, which would wait for its chunks on the same connection otherwise.
  if (blob) {
    parts_.publisher.add(blob->blob, blob->bytes);
  }
}

void RunController::encode(const Digest& base) {
  Active& run = *active_;
  if (!run.encoding.insert(base).second) {
    return;
  }
  parts_.worker.submit([models = parts_.models, &downloads = parts_.downloads, model = run.state.model,
                        base] { return aggregation::encode_model(models, downloads, model, base); },
                       [this, base, model = run.state.model](Result<aggregation::EncodedModel> encoded) {
                         if (!active_ || active_->state.model != model) {
                           return;
                         }
                         active_->encoding.erase(base);
                         if (!encoded) {
                           log::error("runs", "{}", encoded.error().what);
                           return;
                         }
                         active_->encoded[base] = *encoded;
                         for (const auto& [device, participant] : active_->state.participants) {
                           const Device* known = parts_.fleet.find(device);
                           const bool wants_delta = known != nullptr && !active_->previous.empty() &&
                                                    known->models.contains(active_->previous);
                           if (participant.answer == rounds::Answer::none && !active_->acknowledged.contains(device) &&
                               wants_delta == !base.empty()) {
                             send_task(device, base.empty());
                           }
                         }
                       });
}

// The blobs of the model that is being replaced.
void RunController::drop_blobs() {
  for (const auto& [base, encoded] : active_->encoded) {
    parts_.publisher.remove(encoded.blob);
  }
  active_->encoded.clear();
  active_->encoding.clear();
}

void RunController::on_ack(const DeviceId& device, const wire::Ack& ack) {
  if (!active_) {
    return;
  }
  const auto found = active_->state.participants.find(device);
  if (found == active_->state.participants.end() || found->second.task != ack.ref.task) {
    return;  // of an earlier round
  }
  switch (ack.status) {
    case wire::AckStatus::accepted: {
      if (!active_->acknowledged.insert(device).second || found->second.kind == TaskKind::init) {
        return;
      }
      const Device* known = parts_.fleet.find(device);
      const bool delta = known != nullptr && known->models.contains(active_->previous);
      const auto encoded = active_->encoded.find(delta ? active_->previous : Digest());
      if (encoded != active_->encoded.end() && !known->models.contains(active_->state.model)) {
        (void)parts_.registry.count_download(active_->state.id, active_->state.round, encoded->second.bytes);
      }
      break;
    }
    case wire::AckStatus::declined:
      feed(rounds::TaskFailed{device, ack.ref.task, fmt::format("declined: {}", ack.reason)});
      break;
    case wire::AckStatus::need_full:
      if (Device* known = parts_.fleet.find(device)) {
        known->models.clear();
      }
      send_task(device, true);
      break;
  }
}

void RunController::device_said_hello(const DeviceId& device) {
  if (active_) {
    active_->acknowledged.erase(device);
    send_task(device, false);  // again, if it has one; repeating is harmless
  }
}

void RunController::device_lost(const DeviceId& device) {
  if (!active_) {
    return;
  }
  for (auto& [task, upload] : active_->uploads) {
    if (upload.device == device) {
      grants_.pause(task);
    }
  }
  send_grants();
}

void RunController::on_metrics(const DeviceId& device, const wire::Metrics& metrics) {
  const bool known = active_ && active_->state.participants.contains(device) &&
                     active_->state.participants.at(device).task == metrics.ref.task;
  if (!known) {
    return;  // of a round that is over: the next one measures again
  }
  Active& run = *active_;
  if (metrics.model != run.state.model) {
    refuse(device, "up/metrics", "field", "'model' is not the model of the task");
    return;
  }
  const bool training = run.state.participants.at(device).kind == TaskKind::train;
  // While round r trains, the model that round r - 1 made is measured.
  const std::int64_t round = training ? run.state.round - 1 : run.state.round;
  if (round < 1) {
    return;
  }
  if (auto saved = parts_.registry.save_metrics(run.state.id, round, device, metrics); !saved) {
    log::error("runs", "recording metrics: {}", saved.error().what);
    return;
  }
  run.evaluated.insert(device);
  if (training && run.evaluated.size() >= run.state.participants.size()) {
    (void)parts_.registry.set_round_state(run.state.id, round, "done");
    publish_status();
  }
  changed_();
}

}  // namespace flops::coordinator
