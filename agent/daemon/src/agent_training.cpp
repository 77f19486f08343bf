// Training: the base model goes to the trainer, checkpoints and the trained model come back.
#include "agent.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

#include "flops/core/clock.hpp"
#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "part_io.hpp"

namespace flops::agent {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds progress_interval{2};

}  // namespace

void Agent::begin_training(const EntryPtr& entry) {
  if (entry->state.task.kind == wire::TaskKind::init) {
    start_trainer(entry);
  } else {
    with_models(entry, [this, entry] { start_trainer(entry); });
  }
}

void Agent::with_models(const EntryPtr& entry, std::function<void()> then) {
  const wire::Task& task = entry->state.task;
  const auto& continued = entry->state.continued;
  const bool needs_base = !entry->work->base;
  if (!needs_base && (!continued || entry->work->kept)) {
    then();
    return;
  }
  const Digest model = needs_base ? task.base : continued->parameters;
  auto layout = tensor::Layout::parse(task.layout_text);
  auto file = layout ? load_model(model, layout->bytes()) : Result<SharedFd>(fail(layout.error()));
  if (file) {
    check_model(entry, model, *file, [this, entry, needs_base, file = *file, then = std::move(then)] {
      (needs_base ? entry->work->base : entry->work->kept) = file;
      with_models(entry, then);
    });
  } else {
    boost::asio::post(loop_, [this, entry, work = entry->work, model, error = file.error()] {
      if (!work->abandoned && !stopping_) {
        model_missing(entry, model, error);
      }
    });
  }
}

// corrupt: it is dropped. A full memory passes.
void Agent::model_missing(const EntryPtr& entry, const Digest& model, const Error& error) {
  const TaskId id = entry->id();
  if (error.kind == ErrorKind::resource || error.kind == ErrorKind::transient || error.kind == ErrorKind::cancelled) {
    dispatch(id, entry->state.phase == Phase::encoding ? Event(event::EncodeFailed{error})
                                                       : Event(event::TrainFailed{error}));
    return;
  }
  log::error("agent", "task {}: model {} cannot be used: {}", id, model.short_hex(), error.what);
  const bool base = model == entry->state.task.base;
  dispatch(id, base ? Event(event::BaseMissing{}) : Event(event::KeptMissing{}),
           [this, model, error] { return error.kind == ErrorKind::corrupt ? storage_.drop_model(model) : Result<>(); });
}

// A model that was stored for a while is trusted only after its digest says so.
void Agent::check_model(const EntryPtr& entry, const Digest& model, const SharedFd& file, std::function<void()> then) {
  checking_base_ = true;
  worker_.run([this, entry, file, work = entry->work, model, text = entry->state.task.layout_text,
               then = std::move(then), &stop = worker_.stopping()]() -> Worker::After {
    auto layout = tensor::Layout::parse(text);
    auto verified = layout ? verify_model(*layout, model, file->get(), stop) : Result<>(fail(layout.error()));
    return [this, entry, work, model, then, verified = std::move(verified)] {
      checking_base_ = false;
      schedule_soon();
      if (work->abandoned || stopping_) {
        return;
      }
      if (verified) {
        then();
      } else {
        model_missing(entry, model, verified.error());
      }
    };
  });
}

Result<trainer::Job> Agent::job_for(const TaskState& state) const {
  const wire::Task& task = state.task;
  trainer::Job job;
  job.kind = task.kind == wire::TaskKind::init       ? trainer::JobKind::init
             : task.kind == wire::TaskKind::evaluate ? trainer::JobKind::evaluate
                                                     : trainer::JobKind::train;
  job.model = task.model;
  const int rounds = state.continued ? state.continued->rounds : 0;
  job.seed = seed_of_local_round(task.seed, rounds);
  job.training = {task.training.epochs,        task.training.batch,    task.training.optimizer,
                  task.training.learning_rate, task.training.momentum, task.training.weight_decay,
                  task.training.loss,          task.training.steps,    task.training.proximal};
  job.control_variates = task.training.control_variates;
  job.evaluate_first = task.kind == wire::TaskKind::train && task.evaluate && !state.metrics && rounds == 0;
  job.checkpoints = {config_.checkpoint_batches, Seconds(config_.checkpoint_interval).count()};
  if (config_.is_uplink()) {
    job.part = part_of(state);
  }
  if (task.kind == wire::TaskKind::init) {
    return job;
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  if (!layout) {
    return fail(layout.error());
  }
  job.layout = layout->id();
  if (job.part) {
    return job;
  }
  const auto files = std::ranges::find(config_.datasets, task.data, &trainer::DatasetFiles::tag);
  if (files == config_.datasets.end()) {
    return fail(ErrorKind::permanent, "data set '{}' is not configured any more", task.data);
  }
  job.dataset = *files;
  return job;
}

void Agent::start_trainer(const EntryPtr& entry) {
  if (!may_train()) {  // any more: looking at the base took its time
    later(entry->id(), event::TrainFailed{{ErrorKind::cancelled, "training is paused"}});
    return;
  }
  auto job = job_for(entry->state);
  if (!job) {
    later(entry->id(), event::TrainFailed{job.error()});
    return;
  }
  auto layout = tensor::Layout::parse(entry->state.task.layout_text);
  auto result = trainer::make_memfd("flops-result", layout ? layout->bytes() : 0);  // init: the trainer sizes it
  if (!result) {
    later(entry->id(), event::TrainFailed{result.error()});
    return;
  }
  auto prepared = job->part ? prepare_sum(*entry->work, job->part->sum) : prepare_checkpoint(entry);
  prepared = prepared && !job->part ? prepare_variates(entry) : prepared;
  if (!prepared) {
    later(entry->id(), event::TrainFailed{prepared.error()});
    return;
  }
  const std::shared_ptr<Work> work = entry->work;
  work->result = std::make_shared<Fd>(*std::move(result));
  job->resume = work->resume;
  const auto descriptor = [](const SharedFd& file) { return file ? file->get() : -1; };
  const SharedFd& from = entry->state.continued ? work->kept : work->base;
  const trainer::JobMemory memory{descriptor(from), descriptor(work->result), descriptor(work->checkpoint),
                                  descriptor(work->variates), descriptor(work->sum)};
  auto started = trainer_.start(*job, memory, callbacks_for(entry->id(), work));
  if (!started) {
    work->result.reset();
    later(entry->id(), event::TrainFailed{started.error()});
  }
}

// The memory for checkpoints, with the stored one in it after a restart.
Result<> Agent::prepare_checkpoint(const EntryPtr& entry) {
  const std::shared_ptr<Work> work = entry->work;
  if (entry->state.task.kind != wire::TaskKind::train || work->checkpoint) {
    return {};
  }
  auto memory = trainer::make_memfd("flops-checkpoint", 0);
  auto bytes = memory ? storage_.checkpoint_bytes(entry->id()) : fail(memory.error());
  if (!bytes) {
    return fail(bytes.error());
  }
  work->checkpoint = std::make_shared<Fd>(*std::move(memory));
  work->last_on_disk = steady_clock::now();
  if (!*bytes) {
    return {};
  }
  std::uint64_t size = 0;
  auto read = storage_.read_checkpoint(entry->id(), part_sink(work->checkpoint->get(), size, **bytes));
  if (read && size == **bytes) {
    work->resume = trainer::Place{0, size};
  } else {
    log::warn("agent", "task {}: training begins again: {}", entry->id(),
              read ? "its checkpoint is shorter than recorded" : read.error().what);
  }
  return {};
}

void Agent::checkpointed(const TaskId& id, const std::shared_ptr<Work>& work, const trainer::CheckpointNote& note) {
  if (!find(id)) {
    return;
  }
  work->resume = note.place;
  work->only_in_memory = true;
  log::debug("agent", "task {}: a checkpoint after {} of {} batches", id, note.done, note.total);
  dispatch(id, event::Checkpointed{});
  // When the agent stops, memory is of no use any more.
  if (!stopping_ && steady_clock::now() - work->last_on_disk < config_.checkpoint_to_disk) {
    return;
  }
  keep_checkpoint(id, work);
}

// Of training that was paused when the agent was stopped, or of a trainer that had no time for another one.
void Agent::keep_checkpoints() {
  for (const EntryPtr& entry : std::vector(entries_)) {
    const Phase phase = entry->state.phase;
    const bool unfinished = phase == Phase::ready || phase == Phase::running || phase == Phase::encoding;
    if (unfinished && entry->work->only_in_memory) {
      keep_checkpoint(entry->id(), entry->work);
    }
  }
}

// The newest one in memory, on the disk too.
void Agent::keep_checkpoint(const TaskId& id, const std::shared_ptr<Work>& work) {
  if (work->abandoned || !work->resume || !find(id)) {
    return;
  }
  const trainer::Place place = *work->resume;
  const Storage::PartSource source = [&](std::uint64_t offset, std::span<std::byte> into) {
    return read_at(work->checkpoint->get(), place.offset + offset, into);
  };
  auto kept = storage_.transaction([&] { return storage_.put_checkpoint(id, place.bytes, source); });
  if (kept) {
    work->last_on_disk = steady_clock::now();
    work->only_in_memory = false;
    log::debug("agent", "task {}: a checkpoint is on the disk", id);
    tidy_soon();
  } else {
    log::warn("agent", "task {}: a checkpoint is not on the disk: {}", id, kept.error().what);
    storage_failed(kept.error(), Postponed::Kind::repeatable, [this, id, work] { keep_checkpoint(id, work); });
  }
}

trainer::JobCallbacks Agent::callbacks_for(const TaskId& id, const std::shared_ptr<Work>& work) {
  trainer::JobCallbacks callbacks;
  callbacks.progress = [this, id, work](const trainer::Progress& progress) {
    const EntryPtr entry = find(id);
    if (work->abandoned || stopping_ || !entry) {
      return;
    }
    site_progress(id, *work, progress);
    if (std::exchange(work->phase, progress.phase) != progress.phase) {
      state_changed_soon();
    } else if (steady_clock::now() - work->last_progress < progress_interval) {
      return;
    }
    work->last_progress = steady_clock::now();
    say("progress", wire::Progress{entry->state.task.ref, progress.phase, progress.done, progress.total});
  };
  callbacks.evaluated = [this, id, work](const trainer::Evaluation& evaluation) {
    if (!work->abandoned) {
      evaluated(id, evaluation);
    }
  };
  callbacks.checkpointed = [this, id, work](const trainer::CheckpointNote& note) {
    if (!work->abandoned) {
      checkpointed(id, work, note);
    }
  };
  callbacks.finished = [this, id, work](Result<trainer::JobReport> report) {
    schedule_soon();
    if (!work->abandoned) {
      trained(id, work, std::move(report));
    }
  };
  return callbacks;
}

void Agent::evaluated(const TaskId& id, const trainer::Evaluation& evaluation) {
  const EntryPtr entry = find(id);
  if (!entry || entry->state.metrics) {
    return;
  }
  const wire::Task& task = entry->state.task;
  wire::Metrics metrics{task.ref,        task.base,           evaluation.samples,
                        evaluation.loss, evaluation.accuracy, evaluation.seconds};
  if (const auto& spread = evaluation.spread) {
    metrics.spread = wire::Spread{spread->accuracy_min, spread->accuracy_max, spread->devices};
  }
  const std::int64_t now = unix_ms(SystemClock().wall());
  dispatch(id, event::Evaluated{metrics}, [this, id, metrics, now]() -> Result<> {
    const EntryPtr known = find(id);  // the trainer says it twice: at once, and when the job ends
    const bool recorded = metrics.samples == 0 || !known || known->state.metrics.has_value();
    return recorded ? Result<>() : storage_.add_evaluation({metrics, now});
  });
}

void Agent::trained(const TaskId& id, const std::shared_ptr<Work>& work, Result<trainer::JobReport> report) {
  const EntryPtr entry = find(id);
  if (!entry) {
    return;
  }
  if (!report) {
    log::warn("agent", "task {}: training: {}", id, report.error().what);
    work->result.reset();
    work->phase.clear();
    // A trainer that ends because the agent stops is not a failed attempt.
    dispatch(id, event::TrainFailed{stopping_ ? Error{ErrorKind::cancelled, "the agent stops"} : report.error()});
    return;
  }
  const wire::TaskKind kind = entry->state.task.kind;
  if (report->evaluation) {
    evaluated(id, *report->evaluation);  // no effect when it was said before
  }
  if (kind == wire::TaskKind::evaluate && !report->evaluation && !entry->state.metrics) {
    dispatch(id, event::TrainFailed{{ErrorKind::permanent, "the trainer reported no evaluation"}});
    return;
  }
  Outcome outcome{report->samples, report->train_loss, report->train_seconds, {}, report->layout, report->steps};
  auto layout = tensor::Layout::parse(kind == wire::TaskKind::init ? report->layout : entry->state.task.layout_text);
  if (!layout) {
    dispatch(id, event::TrainFailed{layout.error().within("the trainer's layout")});
    return;
  }
  outcome.layout = layout->id();
  if (report->resumed_at > 0) {
    log::info("agent", "task {}: training went on from batch {}", id, report->resumed_at);
  }
  if (kind == wire::TaskKind::init) {
    outcome.weight = 1;  // initial parameters come from one device and are not averaged
  } else {
    outcome.layout_text.clear();
  }
  work->outcome = outcome;
  work->sum_bytes = report->sum_bytes;
  if (offline_rounds(entry->state) > (entry->state.continued ? entry->state.continued->rounds : 0)) {
    trained_offline(entry);
  } else {
    dispatch(id, event::Trained{outcome});
  }
}

// For how many rounds this task may be trained beyond its own. A control variate is of one round.
int Agent::offline_rounds(const TaskState& state) const {
  const wire::Task& task = state.task;
  const bool offline = !link_->up() && task.kind == wire::TaskKind::train && !task.training.control_variates;
  return offline ? static_cast<int>(config_.offline_continue) : 0;
}

// The parameters are named first, which takes a moment; whether there is still no link is looked at after it.
void Agent::trained_offline(const EntryPtr& entry) {
  worker_.run([this, entry, work = entry->work, file = entry->work->result, text = entry->state.task.layout_text,
               &stop = worker_.stopping()]() -> Worker::After {
    const auto layout = tensor::Layout::parse(text);
    auto digest = layout ? digest_of_model(*layout, file->get(), stop) : Result<Digest>(fail(layout.error()));
    return [this, entry, work, file, bytes = layout ? layout->bytes() : 0, digest = std::move(digest)] {
      if (work->abandoned || stopping_) {
        return;
      }
      if (!digest) {
        dispatch(entry->id(), event::TrainFailed{digest.error()});
        return;
      }
      const int rounds = offline_rounds(entry->state);
      if (rounds <= (entry->state.continued ? entry->state.continued->rounds : 0)) {
        dispatch(entry->id(), event::Trained{work->outcome});
        return;
      }
      const wire::Task& task = entry->state.task;
      dispatch(entry->id(), event::Trained{work->outcome, rounds, *digest},
               [this, task, bytes, digest = *digest, file]() -> Result<> {
                 std::vector<Digest> keep = models_in_use();
                 keep.push_back(digest);
                 auto put = storage_.put_model(digest, task.ref.run, task.layout_text, bytes, part_source(file), keep);
                 return put ? storage_.drop_checkpoint(task.ref.task) : put;
               });
    };
  });
}

// The next local round begins with what this one gave.
void Agent::keep_round(Entry& entry) {
  Work& work = *entry.work;
  log::info("agent", "task {}: no link after {} local rounds; training goes on", entry.id(),
            entry.state.continued->rounds);
  work.kept = std::exchange(work.result, nullptr);
  work.checkpoint.reset();
  work.sum.reset();
  work.resume.reset();
  work.phase.clear();
}

}  // namespace flops::agent
