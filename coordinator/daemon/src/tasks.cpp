// Tasks: what a device is asked to do, and the model blobs it needs for that.
#include <algorithm>
#include <utility>

#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using wire::TaskKind;

wire::TaskRef RunController::reference(const rounds::Participant& participant) const {
  return {participant.task, active_->state.id, 1, participant.round};
}

void RunController::send_task(const DeviceId& device, bool complete_model) {
  Active& run = *active_;
  if (!records_.settled()) {
    tasks_held_ = true;
    return;  // nothing is asked that would be forgotten; when all is recorded, all open tasks are sent
  }
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
  task.training.proximal = run.algorithm->client().proximal;
  task.deadline_seconds = run.state.spec.deadline_seconds;
  if (participant.kind == TaskKind::init) {
    task.seed = run.state.spec.seed;
  } else {
    task.seed = rounds::task_seed(run.state.spec.seed, participant.round, device);
    task.data = run.state.spec.data;
    task.layout_text = run.layout->canonical();
    task.base = participant.base;
    task.evaluate = participant.kind == TaskKind::train && run.state.spec.evaluate && participant.round > 1;
    const Digest base = complete_model ? Digest() : delta_base(device, participant.base);
    const auto& blobs = run.versions[participant.base].encoded;
    const auto encoded = blobs.find(base);
    // An older blob with the same bytes may have been taken away just when this one was made.
    if (encoded == blobs.end() || !parts_.downloads.has(encoded->second.blob)) {
      encode(participant.base, base);  // sends the task when it is there
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

// The version before the model when the device holds it: then a delta is enough.
Digest RunController::delta_base(const DeviceId& device, const Digest& model) const {
  const auto version = active_->versions.find(model);
  const Device* known = parts_.fleet.find(device);
  const bool delta = version != active_->versions.end() && !version->second.previous.empty() && known != nullptr &&
                     known->models.contains(version->second.previous);
  return delta ? version->second.previous : Digest();
}

void RunController::encode(const Digest& model, const Digest& base) {
  if (!active_->versions[model].encoding.insert(base).second) {
    return;
  }
  parts_.worker.submit([models = parts_.models, &downloads = parts_.downloads, model,
                        base] { return aggregation::encode_model(models, downloads, model, base); },
                       [this, base, model](Result<aggregation::EncodedModel> blob) {
                         if (!active_ || !active_->versions.contains(model)) {
                           return;
                         }
                         active_->versions[model].encoding.erase(base);
                         if (blob) {
                           encoded(model, base, *blob);
                         } else {
                           round_in_trouble(blob.error(), "encoding the model for the devices");
                         }
                       });
}

// Tasks that waited for the blob go out now.
void RunController::encoded(const Digest& model, const Digest& base, const aggregation::EncodedModel& blob) {
  active_->versions[model].encoded[base] = blob;
  for (const auto& [device, participant] : active_->state.participants) {
    if (participant.answer == rounds::Answer::none && participant.base == model &&
        !active_->acknowledged.contains(participant.task) && delta_base(device, model) == base) {
      send_task(device, base.empty());
    }
  }
}

// Blobs of a model that was replaced stay while a late device may be fetching it.
void RunController::drop_old_versions() {
  std::set<Digest> needed{active_->state.model};
  std::set<TaskId> open;
  for (const auto& [id, participant] : active_->state.participants) {
    const Device* device = parts_.fleet.find(id);
    if (participant.answer != rounds::Answer::none) {
      continue;
    }
    open.insert(participant.task);
    if (device == nullptr || !device->models.contains(participant.base)) {
      needed.insert(participant.base);
    }
  }
  std::erase_if(active_->acknowledged, [&](const TaskId& task) { return !open.contains(task); });
  drop_blobs(needed);
}

void RunController::drop_blobs(const std::set<Digest>& versions_kept) {
  std::set<Digest> blobs_kept;  // two versions may have the same one
  for (const auto& [model, version] : active_->versions) {
    for (const auto& [base, blob] : version.encoded) {
      if (versions_kept.contains(model)) {
        blobs_kept.insert(blob.blob);
      }
    }
  }
  std::erase_if(active_->versions, [&](const auto& entry) {
    if (versions_kept.contains(entry.first)) {
      return false;
    }
    for (const auto& [base, blob] : entry.second.encoded) {
      if (!blobs_kept.contains(blob.blob)) {
        parts_.publisher.remove(blob.blob);
      }
    }
    return true;
  });
  parts_.publisher.clear_leftovers();
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
      const rounds::Participant& participant = found->second;
      if (!active_->acknowledged.insert(participant.task).second || participant.kind == TaskKind::init) {
        return;
      }
      const Device* known = parts_.fleet.find(device);
      const auto& blobs = active_->versions[participant.base].encoded;
      const auto blob = blobs.find(delta_base(device, participant.base));
      if (blob != blobs.end() && known != nullptr && !known->models.contains(participant.base)) {
        (void)parts_.registry.count_download(active_->state.id, participant.round, blob->second.bytes);
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
      active_->acknowledged.erase(ack.ref.task);  // it has let go of the task
      send_task(device, true);
      break;
  }
}

void RunController::device_said_hello(const DeviceId& device) {
  if (active_) {
    if (const auto found = active_->state.participants.find(device); found != active_->state.participants.end()) {
      active_->acknowledged.erase(found->second.task);
    }
    send_task(device, false);  // again, if it has one; repeating is harmless
  }
}

void RunController::device_lost(const DeviceId& device) {
  expected_.erase(device);  // it was back, and is away now
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
  if (!active_) {
    return;
  }
  Active& run = *active_;
  const auto found = run.state.participants.find(device);
  if (found == run.state.participants.end() || found->second.task != metrics.ref.task) {
    return;  // of a round that is over: the next one measures again
  }
  const rounds::Participant& participant = found->second;
  if (metrics.model != participant.base) {
    refuse(device, "up/metrics", "field", "'model' is not the model of the task");
    return;
  }
  if (Device* known = parts_.fleet.find(device)) {
    known->models.insert(participant.base);  // it measured it, so it holds it
  }
  if (rounds::staleness(run.state, participant) > 0) {
    return;  // late: the figures of that model are final
  }
  const bool training = participant.kind == TaskKind::train;
  // While round r trains, the model that round r - 1 made is measured.
  const std::int64_t round = training ? run.state.round - 1 : run.state.round;
  if (round < 1) {
    return;
  }
  record(fmt::format("metrics {} {} {}", run.state.id, round, device), "recording metrics",
         [&registry = parts_.registry, id = run.state.id, round, device, metrics] {
           return registry.save_metrics(id, round, device, metrics);
         });
  run.evaluated.insert(device);
  const auto asked = std::ranges::count_if(
      run.state.participants, [&](const auto& entry) { return rounds::staleness(run.state, entry.second) == 0; });
  if (training && std::cmp_greater_equal(run.evaluated.size(), asked)) {
    record_round(round, "done");
    publish_status();
  }
  changed_();
}

}  // namespace flops::coordinator
