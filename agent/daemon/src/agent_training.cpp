// Training: the base model goes to the trainer, checkpoints and the trained model come back.
#include "agent.hpp"

#include <algorithm>

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
  const wire::Task& task = entry->state.task;
  if (task.kind == wire::TaskKind::init || entry->work->base) {
    start_trainer(entry);
    return;
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  auto base = layout ? load_model(task.base, layout->bytes()) : Result<SharedFd>(fail(layout.error()));
  if (base) {
    check_base(entry, *base);
  } else if (base.error().kind == ErrorKind::resource || base.error().kind == ErrorKind::transient) {
    later(entry->id(), event::TrainFailed{base.error()});
  } else {
    log::warn("agent", "task {}: the base model cannot be read: {}", entry->id(), base.error().what);
    later(entry->id(), event::BaseMissing{});
  }
}

// A model that was stored for a while is trusted only after its digest says so.
void Agent::check_base(const EntryPtr& entry, const SharedFd& base) {
  checking_base_ = true;
  worker_.run([this, entry, base, work = entry->work, model = entry->state.task.base,
               text = entry->state.task.layout_text, &stop = worker_.stopping()]() -> Worker::After {
    auto layout = tensor::Layout::parse(text);
    auto verified = layout ? verify_model(*layout, model, base->get(), stop) : Result<>(fail(layout.error()));
    return [this, entry, base, work, model, verified = std::move(verified)] {
      checking_base_ = false;
      schedule_soon();
      if (work->abandoned || stopping_) {
        return;
      }
      if (verified) {
        work->base = base;
        start_trainer(entry);
      } else if (verified.error().kind == ErrorKind::corrupt) {
        log::error("agent", "task {}: {}; it is dropped", entry->id(), verified.error().what);
        dispatch(entry->id(), event::BaseMissing{}, [this, model] { return storage_.drop_model(model); });
      } else {
        dispatch(entry->id(), event::TrainFailed{verified.error()});
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
  job.seed = task.seed;
  job.training = {task.training.epochs,        task.training.batch,    task.training.optimizer,
                  task.training.learning_rate, task.training.momentum, task.training.weight_decay,
                  task.training.loss};
  job.evaluate_first = task.kind == wire::TaskKind::train && task.evaluate && !state.metrics;
  job.checkpoints = {config_.checkpoint_batches, Seconds(config_.checkpoint_interval).count()};
  if (task.kind == wire::TaskKind::init) {
    return job;
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  if (!layout) {
    return fail(layout.error());
  }
  job.layout = layout->id();
  const auto files = std::ranges::find(config_.datasets, task.data, &trainer::DatasetFiles::tag);
  if (files == config_.datasets.end()) {
    return fail(ErrorKind::permanent, "data set '{}' is not configured any more", task.data);
  }
  job.dataset = *files;
  return job;
}

void Agent::start_trainer(const EntryPtr& entry) {
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
  if (auto prepared = prepare_checkpoint(entry); !prepared) {
    later(entry->id(), event::TrainFailed{prepared.error()});
    return;
  }
  const std::shared_ptr<Work> work = entry->work;
  work->result = std::make_shared<Fd>(*std::move(result));
  job->resume = work->resume;
  const auto descriptor = [](const SharedFd& file) { return file ? file->get() : -1; };
  auto started = trainer_.start(*job, {descriptor(work->base), descriptor(work->result), descriptor(work->checkpoint)},
                                callbacks_for(entry->id(), work));
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
  dispatch(id, event::Checkpointed{});
  // When the agent stops, memory is of no use any more.
  if (!stopping_ && steady_clock::now() - work->last_on_disk < config_.checkpoint_to_disk) {
    return;
  }
  log::debug("agent", "task {}: a checkpoint after {} of {} batches", id, note.done, note.total);
  keep_checkpoint(id, work);
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
  const wire::Metrics metrics{task.ref,        task.base,           evaluation.samples,
                              evaluation.loss, evaluation.accuracy, evaluation.seconds};
  const std::int64_t now = unix_ms(SystemClock().wall());
  dispatch(id, event::Evaluated{metrics}, [this, metrics, now]() -> Result<> {
    return metrics.samples == 0 ? Result<>() : storage_.add_evaluation({metrics, now});
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
  if (kind == wire::TaskKind::evaluate && !entry->state.metrics) {
    dispatch(id, event::TrainFailed{{ErrorKind::permanent, "the trainer reported no evaluation"}});
    return;
  }
  Outcome outcome{report->samples, report->train_loss, report->train_seconds, {}, report->layout};
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
  dispatch(id, event::Trained{outcome});
}

}  // namespace flops::agent
