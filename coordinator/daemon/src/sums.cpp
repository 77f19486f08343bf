// Updates whose bytes are here: summed, recorded, receipted; and the first model.
#include <algorithm>

#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using wire::ReceiptStatus;

namespace {

algorithms::Contribution work_of(const wire::ResultMessage& result) {
  return {result.weight, static_cast<std::uint64_t>(result.steps)};
}

}  // namespace

bool RunController::is_current(const TaskId& task, std::uint64_t number) const {
  if (!active_) {
    return false;
  }
  const auto found = active_->uploads.find(task);
  return found != active_->uploads.end() && found->second.number == number;
}

void RunController::ingest(const TaskId& task) {
  Upload& upload = active_->uploads.at(task);
  upload.stage = Upload::Stage::stored;
  const rounds::RunState* state = active_->tree.node(upload.node);
  if (state != nullptr && state->phase == rounds::Phase::initialising) {
    ingest_initial(task);
    return;
  }
  if (state == nullptr || state->phase != rounds::Phase::fitting) {
    return;  // the sum is being closed; OpenRound goes on with it
  }
  upload.stage = Upload::Stage::summing;
  const wire::ResultMessage& result = upload.result;
  const algorithms::Contribution work = work_of(result);
  const Node& open = active_->nodes[upload.node];
  parts_.worker.submit(
      [sum = open.sum, work, weight = weight_of(work, state->round - result.ref.round),
       update = aggregation::StoredUpdate{parts_.updates.path_of(result.update.sha256), result.update.size, result.base,
                                          result.codec == wire::sum_codec}]() -> Result<> {
        if (!*sum) {
          return fail(ErrorKind::cancelled, "the round has no sum");
        }
        return (*sum)->add(update, work, weight);
      },
      [this, task, node = upload.node, generation = open.generation, number = upload.number](Result<> added) {
        if (is_open(node, generation) && is_current(task, number)) {
          ingested(task, std::move(added));
        }
      });
}

void RunController::ingested(const TaskId& task, Result<> outcome) {
  const Upload upload = std::move(active_->uploads.at(task));
  active_->uploads.erase(task);
  const wire::ResultMessage& result = upload.result;
  log::debug("updates", "task {}: {}, {} local rounds", task, outcome ? "durable and summed" : "not summed",
             result.local_rounds);
  if (!outcome) {
    const ErrorKind kind = outcome.error().kind;
    if (kind != ErrorKind::permanent && kind != ErrorKind::corrupt) {
      if (kind != ErrorKind::cancelled) {  // the round has no sum while it is in trouble, which was said
        log::error("updates", "update of {}: {}", upload.device, outcome.error().what);
      }
      if (is_storage_trouble(outcome.error())) {
        storage_in_trouble(outcome.error());
      }
      // What is stored may be what cannot be read: it is received anew, unless something else needs it.
      sweep_due_ = sweep_due_ || kind == ErrorKind::transient || kind == ErrorKind::bug;
      if (kind == ErrorKind::bug) {
        sum_again(upload.node);
      }
      return;  // not its fault: it keeps the update and offers it again
    }
    reject(upload.device, upload.node, result, outcome.error().what);
    return;
  }
  const registry::ContributionRow row{upload.device,
                                      task,
                                      result.update.sha256,
                                      result.update.size,
                                      static_cast<std::uint32_t>(result.weight),
                                      result.train_loss,
                                      result.train_seconds,
                                      result.ref.round,
                                      result.base,
                                      result.local_rounds,
                                      work_of(result).steps,
                                      result.codec};
  const rounds::RunState* state = active_->tree.node(upload.node);
  if (state == nullptr) {
    return;  // its cluster is not at work any more
  }
  auto added = parts_.registry.add_contribution(active_->id(), state->round, row, upload.node);
  if (!added) {
    round_in_trouble(upload.node, added.error(), fmt::format("recording the update of {}", upload.device));
    return;
  }
  if (Device* device = parts_.fleet.find(upload.device)) {
    device->models.insert(result.base);  // it trained from it, so it holds it
  }
  if (!*added) {
    log::error("updates", "the update of {} was in the sum already", upload.device);
    sum_again(upload.node);
  }
  rounds::note_loss(active_->tree, upload.device, result.train_loss);
  // The last one's starts the mean, while the disk works below.
  feed(upload.node, rounds::Contributed{upload.device, task});
  receipt(upload.device, result.ref, result.update.sha256, *added ? ReceiptStatus::accepted : ReceiptStatus::duplicate);
}

// Into a new sum: what is stored but was not counted in the one before. What is being checked comes by itself.
void RunController::ingest_waiting(const ClusterId& node) {
  std::vector<TaskId> waiting;
  for (const auto& [task, upload] : active_->uploads) {
    const bool waits = upload.stage == Upload::Stage::stored || upload.stage == Upload::Stage::summing;
    if (waits && upload.node == node) {
      waiting.push_back(task);
    }
  }
  std::ranges::for_each(waiting, [this](const TaskId& task) { ingest(task); });
}

// The first model: made by one device, stored as it is.
void RunController::ingest_initial(const TaskId& task) {
  Upload& upload = active_->uploads.at(task);
  auto layout = tensor::Layout::parse(upload.result.layout_text);
  if (!layout) {
    log::error("updates", "layout of {}: {}", upload.device, layout.error().what);
    return;  // it was read before
  }
  upload.stage = Upload::Stage::summing;
  const wire::BlobRef offered = upload.result.update;
  parts_.worker.submit(
      [models = parts_.models, layout = *layout, file = parts_.updates.path_of(offered.sha256), bytes = offered.size] {
        return aggregation::store_initial_model(models, layout, {file, bytes});
      },
      [this, task, layout = *layout, number = upload.number](const Result<aggregation::NewModel>& stored) {
        if (is_current(task, number)) {
          initial_stored(task, layout, stored);
        }
      });
}

void RunController::initial_stored(const TaskId& task, const tensor::Layout& layout,
                                   const Result<aggregation::NewModel>& stored) {
  const Upload upload = std::move(active_->uploads.at(task));
  active_->uploads.erase(task);
  sweep_due_ = true;
  if (!stored && is_storage_trouble(stored.error()) && stored.error().kind != ErrorKind::corrupt) {
    storage_in_trouble(stored.error().within("storing the initial model"));
    return;  // its device offers it again
  }
  if (!stored) {
    reject(upload.device, upload.node, upload.result, stored.error().what);
    return;
  }
  auto recorded = parts_.registry.set_run_layout(active_->id(), layout.canonical(), layout.parameters());
  if (!recorded) {
    storage_in_trouble(recorded.error().within("recording the layout"));
    return;
  }
  active_->layout = layout;
  if (auto added = new_model({}, 0, *stored, layout); !added) {
    storage_in_trouble(added.error().within("recording the initial model"));
    return;  // its device offers it again
  }
  feed(upload.node, rounds::Initialised{upload.device, task, stored->digest});
  receipt(upload.device, upload.result.ref, upload.result.update.sha256, ReceiptStatus::accepted);
}

}  // namespace flops::coordinator
