// Tasks: what a device is asked to do, and the model blobs it needs for that.
#include <algorithm>
#include <utility>

#include "flops/core/log.hpp"
#include "flops/rounds/site.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using wire::TaskKind;

wire::TaskRef RunController::reference(const TaskId& task, std::int64_t round) const {
  return {task, active_->id(), rounds::cycle_of(active_->spec(), round), round};
}

void RunController::for_each_participant(
    const std::function<void(const DeviceId&, const rounds::Participant&)>& visit) const {
  const auto all = [&visit](const rounds::RunState& node) {
    for (const auto& [device, participant] : node.participants) {
      visit(device, participant);
    }
  };
  if (active_->tree.flat()) {
    all(active_->tree.top);
  }
  for (const auto& [cluster, part] : active_->tree.parts) {
    all(part);
  }
}

void RunController::send_open_tasks() {
  std::vector<DeviceId> open;
  for_each_participant([&open](const DeviceId& device, const rounds::Participant&) { open.push_back(device); });
  for (const DeviceId& device : open) {
    send_task(device, false);
  }
}

void RunController::send_task(const DeviceId& device, bool complete_model) {
  Active& run = *active_;
  if (!records_.settled()) {
    tasks_held_ = true;
    return;  // nothing is asked that would be forgotten; when all is recorded, all open tasks are sent
  }
  const Seat seat = seat_of(device);
  if (seat.participant == nullptr || seat.participant->answer != rounds::Answer::none) {
    return;
  }
  const rounds::Participant& participant = *seat.participant;
  const rounds::RunSpec& spec = run.spec();
  std::optional<aggregation::EncodedModel> blob;
  wire::Task task;
  task.ref = reference(participant.task, participant.round);
  task.kind = participant.kind;
  task.model = spec.model;
  task.codec = rounds::offers_sum(spec, participant.kind) ? wire::sum_codec : spec.codec;
  task.training = spec.training;
  task.training.learning_rate = rounds::learning_rate(spec, participant.round);
  task.training.proximal = run.algorithm->client().proximal;
  task.training.control_variates = run.algorithm->client().control_variates;
  task.deadline_seconds = seat.state->spec.deadline_seconds;
  if (run.tree.of_sites()) {
    task.part = rounds::site_part(spec, participant.round);
  }
  if (participant.kind == TaskKind::init) {
    task.seed = spec.seed;
  } else {
    task.seed = task.part ? spec.seed : rounds::task_seed(spec.seed, participant.round, device);
    task.data = spec.data;
    task.layout_text = run.layout->canonical();
    task.base = participant.base;
    task.evaluate = participant.kind == TaskKind::train && spec.evaluate && participant.round > 1;
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
                           round_in_trouble({}, blob.error(), "encoding the model for the devices");
                         }
                       });
}

// Tasks that waited for the blob go out now, also to devices that have said yes to theirs before: it named a blob of an
// earlier process of this coordinator, which is not on the broker any more. Repeating is harmless.
void RunController::encoded(const Digest& model, const Digest& base, const aggregation::EncodedModel& blob) {
  active_->versions[model].encoded[base] = blob;
  std::vector<DeviceId> waiting;
  for_each_participant([&](const DeviceId& device, const rounds::Participant& participant) {
    if (participant.answer == rounds::Answer::none && participant.base == model && delta_base(device, model) == base) {
      waiting.push_back(device);
    }
  });
  for (const DeviceId& device : waiting) {
    send_task(device, base.empty());
  }
}

// Blobs of a model that was replaced stay while a late device may be fetching it.
void RunController::drop_old_versions() {
  std::set<Digest> needed{active_->tree.top.model};
  for (const auto& [cluster, part] : active_->tree.parts) {
    needed.insert(part.model);
  }
  std::set<TaskId> open;
  for_each_participant([&](const DeviceId& id, const rounds::Participant& participant) {
    const Device* device = parts_.fleet.find(id);
    if (participant.answer != rounds::Answer::none) {
      return;
    }
    open.insert(participant.task);
    if (device == nullptr || !device->models.contains(participant.base)) {
      needed.insert(participant.base);
    }
  });
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
  const Seat seat = seat_of(device);
  if (seat.participant == nullptr || seat.participant->task != ack.ref.task) {
    return;  // of an earlier round
  }
  switch (ack.status) {
    case wire::AckStatus::accepted: {
      const rounds::Participant& participant = *seat.participant;
      if (!active_->acknowledged.insert(participant.task).second || participant.kind == TaskKind::init) {
        return;
      }
      const Device* known = parts_.fleet.find(device);
      const auto& blobs = active_->versions[participant.base].encoded;
      const auto blob = blobs.find(delta_base(device, participant.base));
      if (blob != blobs.end() && known != nullptr && !known->models.contains(participant.base)) {
        (void)parts_.registry.count_download(active_->id(), participant.round, blob->second.bytes, seat.node);
      }
      break;
    }
    case wire::AckStatus::declined:
      feed(seat.node, rounds::TaskFailed{device, ack.ref.task, fmt::format("declined: {}", ack.reason)});
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
  if (!active_) {
    return;
  }
  if (const Seat seat = seat_of(device); seat.participant != nullptr) {
    const TaskId task = seat.participant->task;
    active_->acknowledged.erase(task);
    const registry::DeviceRow& row = parts_.fleet.find(device)->row;
    if (row.hello->role != active_->role() || row.role != active_->role()) {
      feed(seat.node, rounds::TaskFailed{device, task, "it was a site and is none any more, or the other way round"});
      return;
    }
  }
  send_task(device, false);  // again, if it has one; repeating is harmless
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

void RunController::exclude(const DeviceId& device, std::string_view reason) {
  expected_.erase(device);
  if (!active_) {
    return;
  }
  const Seat seat = seat_of(device);
  if (seat.participant == nullptr || seat.participant->answer != rounds::Answer::none) {
    return;
  }
  const ClusterId node = seat.node;
  const rounds::Participant participant = *seat.participant;
  perform(node, rounds::CancelTask{device, participant.task, participant.round, std::string(reason)});
  feed(node, rounds::TaskFailed{device, participant.task, std::string(reason)});
}

}  // namespace flops::coordinator
