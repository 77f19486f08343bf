// Updates whose bytes are here: summed, recorded, receipted; and the first model.
#include <algorithm>
#include <iterator>

#include "flops/aggregation/weight.hpp"
#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using wire::ReceiptStatus;

namespace {

algorithms::Contribution work_of(const wire::ResultMessage& result) {
  return {result.weight, 0};  // devices do not say their steps yet
}

}  // namespace

bool RunController::is_current(const TaskId& task, std::uint64_t number) const {
  if (!active_) {
    return false;
  }
  const auto found = active_->uploads.find(task);
  return found != active_->uploads.end() && found->second.number == number;
}

std::uint64_t RunController::weight_of(const algorithms::Contribution& work, std::int64_t base_round) const {
  const rounds::RunState& state = active_->state;
  return aggregation::weight_in_sum(active_->weighing->weight(work), state.round - base_round,
                                    rounds::takes_late_updates(state.spec));
}

void RunController::ingest(const TaskId& task) {
  Upload& upload = active_->uploads.at(task);
  upload.stage = Upload::Stage::stored;
  if (active_->state.phase == rounds::Phase::initialising) {
    ingest_initial(task);
    return;
  }
  if (active_->state.phase != rounds::Phase::fitting) {
    return;  // the sum is being closed; OpenRound goes on with it
  }
  upload.stage = Upload::Stage::summing;
  const wire::ResultMessage& result = upload.result;
  const algorithms::Contribution work = work_of(result);
  parts_.worker.submit(
      [sum = active_->sum, work, weight = weight_of(work, result.ref.round),
       update = aggregation::StoredUpdate{parts_.updates.path_of(result.update.sha256), result.update.size,
                                          result.base}]() -> Result<> {
        if (!*sum) {
          return fail(ErrorKind::cancelled, "the round has no sum");
        }
        return (*sum)->add(update, work, weight);
      },
      [this, task, generation = generation_, number = upload.number](Result<> added) {
        if (generation == generation_ && is_current(task, number)) {
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
        sum_again();
      }
      return;  // not its fault: it keeps the update and offers it again
    }
    reject(upload.device, result, outcome.error().what);
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
                                      work_of(result).steps};
  auto added = parts_.registry.add_contribution(active_->state.id, active_->state.round, row);
  if (!added) {
    round_in_trouble(added.error(), fmt::format("recording the update of {}", upload.device));
    return;
  }
  if (Device* device = parts_.fleet.find(upload.device)) {
    device->models.insert(result.base);  // it trained from it, so it holds it
  }
  if (!*added) {
    log::error("updates", "the update of {} was in the sum already", upload.device);
    sum_again();
  }
  if (active_->state.spec.candidates > 0) {
    active_->state.losses[upload.device] = result.train_loss;
  }
  feed(rounds::Contributed{upload.device, task});  // the last one's starts the mean, while the disk works below
  receipt(upload.device, result.ref, result.update.sha256, *added ? ReceiptStatus::accepted : ReceiptStatus::duplicate);
}

Result<> RunController::new_model(std::int64_t round, const aggregation::NewModel& model,
                                  const tensor::Layout& layout) {
  Active& run = *active_;
  const Seconds seconds = parts_.clock.steady() - run.round_opened;
  const registry::ModelRow row{model.digest,
                               run.state.id,
                               round,
                               layout.id(),
                               layout.parameters(),
                               model.file_bytes,
                               unix_ms(parts_.clock.wall())};
  if (round == 0) {
    return parts_.registry.add_model(row);
  }
  if (auto recorded = parts_.registry.close_round(run.state.id, round, seconds.count(), row, model.state); !recorded) {
    return recorded;  // the updates behind it stay
  }
  sweep_due_ = true;
  states_sweep_due_ = states_sweep_due_ || !model.state.empty();
  log::info("runs", "{} round {}: model {} in {:.2f} s", run.state.id, round, model.digest.short_hex(),
            seconds.count());
  return {};
}

// A full disk, say, passes: soon the round is taken up from what is on the disk, as after a restart. Until then it has
// no sum, and nobody gets a receipt, so nobody lets go of anything.
void RunController::round_in_trouble(const Error& error, std::string_view doing) {
  constexpr std::chrono::seconds pause{5};
  if (error.kind == ErrorKind::cancelled) {  // what is in trouble was said
    log::info("runs", "{}: {}", doing, error.what);
  } else {
    log::error("runs", "{}: {}", doing, error.what);
  }
  if (error.kind == ErrorKind::corrupt || error.kind == ErrorKind::permanent || error.kind == ErrorKind::bug) {
    feed(rounds::AggregationFailed{error.what});
    return;
  }
  if (is_storage_trouble(error)) {
    storage_in_trouble(error.within(doing));
  }
  ++generation_;
  active_->sum = std::make_shared<std::unique_ptr<aggregation::RoundSum>>();
  take_up_at_ = parts_.clock.steady() + pause;
}

void RunController::take_up_again() {
  const SteadyTime now = parts_.clock.steady();
  if (take_up_at_ && now >= *take_up_at_) {
    take_up_at_.reset();
    log::info("runs", "{} round {} is taken up again", active_->state.id, active_->state.round);
    perform(rounds::on_restart(active_->state, now));
  }
}

// From the stored updates, because the sum cannot be trusted any more.
void RunController::sum_again() {
  if (active_->state.phase != rounds::Phase::fitting) {
    return;
  }
  perform(rounds::OpenRound{active_->state.round});
}

// Into a new sum: what is stored but was not counted in the one before. What is being checked comes by itself.
void RunController::ingest_waiting() {
  std::vector<TaskId> waiting;
  for (const auto& [task, upload] : active_->uploads) {
    if (upload.stage == Upload::Stage::stored || upload.stage == Upload::Stage::summing) {
      waiting.push_back(task);
    }
  }
  std::ranges::for_each(waiting, [this](const TaskId& task) { ingest(task); });
}

// Removes stored updates that nothing needs any more: of closed rounds, refused ones, what a crash left. Their order
// with what replaced them on the disk is kept by recording and syncing that first.
void RunController::sweep_updates() {
  if (!sweep_due_ || next_due_ || !records_.settled() || !parts_.registry.sync()) {
    return;
  }
  std::set<Digest> needed;
  if (active_) {
    auto contributions = parts_.registry.contributions(active_->state.id, active_->state.round);
    if (!contributions) {
      return;
    }
    std::ranges::transform(*contributions, std::inserter(needed, needed.end()), &registry::ContributionRow::blob);
    for (const auto& [task, upload] : active_->uploads) {
      needed.insert(upload.result.update.sha256);
    }
  }
  sweep_due_ = false;
  for (const Digest& stored : parts_.updates.list()) {
    if (auto removed = needed.contains(stored) ? Result<>() : parts_.updates.remove(stored); !removed) {
      log::warn("updates", "{}", removed.error().what);
    }
  }
}

// Removes what algorithms kept for rounds that nobody goes back to. A power cut may take back that a round is over, so
// that is synced first.
void RunController::sweep_states() {
  if (!states_sweep_due_ || closing_ > 0 || next_due_ || !records_.settled() || !parts_.registry.sync()) {
    return;
  }
  std::set<Digest> needed;
  if (active_) {
    for (const std::int64_t round : {active_->state.round - 1, active_->state.round}) {
      auto state = parts_.registry.algorithm_state(active_->state.id, round);
      if (!state) {
        return;
      }
      needed.insert(*state);
    }
  }
  states_sweep_due_ = false;
  parts_.worker.submit([models = parts_.models, needed = std::move(needed)] { return models.keep_states(needed); },
                       [](const Result<>& kept) {
                         if (!kept) {
                           log::warn("runs", "{}", kept.error().what);
                         }
                       });
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
    reject(upload.device, upload.result, stored.error().what);
    return;
  }
  auto recorded = parts_.registry.set_run_layout(active_->state.id, layout.canonical(), layout.parameters());
  if (!recorded) {
    storage_in_trouble(recorded.error().within("recording the layout"));
    return;
  }
  active_->layout = layout;
  if (auto added = new_model(0, *stored, layout); !added) {
    storage_in_trouble(added.error().within("recording the initial model"));
    return;  // its device offers it again
  }
  feed(rounds::Initialised{upload.device, task, stored->digest});
  receipt(upload.device, upload.result.ref, upload.result.update.sha256, ReceiptStatus::accepted);
}

}  // namespace flops::coordinator
