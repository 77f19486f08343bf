// The steps of a task: chunks, base model, training, update.
#include "agent.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

#include "flops/core/clock.hpp"
#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "memory.hpp"

namespace flops::agent {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds progress_interval{2};

Storage::PartSource part_source(const SharedFd& file) {
  return [file](std::uint64_t offset, std::span<std::byte> into) { return read_at(file->get(), offset, into); };
}

// Copies parts into a file one after the other, never past `limit`.
Storage::PartSink part_sink(int fd, std::uint64_t& size, std::uint64_t limit) {
  return [fd, &size, limit](std::span<const std::byte> part) -> Result<> {
    if (part.size() > limit - size) {
      return fail(ErrorKind::corrupt, "a stored value is longer than recorded");
    }
    auto written = write_at(fd, size, part);
    size += part.size();
    return written;
  };
}

}  // namespace

void Agent::begin_fetch(Entry& entry) {
  const wire::Task& task = entry.state.task;
  auto held = storage_.has_model(task.base);
  auto chunks = storage_.chunks(*task.base_blob);
  if (chunks && held && *held) {
    later(entry.id(), event::ChunksComplete{});  // another task brought it meanwhile
  } else if (chunks) {
    fetcher_.start(entry.id(), *task.base_blob, *std::move(chunks));
    load_delta_base(entry);
  } else if (chunks.error().kind == ErrorKind::corrupt) {
    // The digest was announced with another size before; one of the two is a lie, and the digest decides.
    if (auto dropped = storage_.drop_blob(task.base_blob->sha256); dropped) {
      fetcher_.start(entry.id(), *task.base_blob, blob::ChunkSet(blob::chunk_count(task.base_blob->size)));
      load_delta_base(entry);
    }
  } else {
    storage_failed(chunks.error(), [this, id = entry.id()] { dispatch(id, event::Connected{}); });
  }
}

// While the chunks are on their way. Whether it is needed and there is looked at again when they have come.
void Agent::load_delta_base(Entry& entry) {
  const wire::Task& task = entry.state.task;
  auto layout = tensor::Layout::parse(task.layout_text);
  if (layout && !task.base_blob_base.empty()) {
    entry.work->delta_base = load_model(task.base_blob_base, layout->bytes()).value_or(nullptr);
  }
}

Result<SharedFd> Agent::load_model(const Digest& model, std::uint64_t bytes) {
  auto file = trainer::make_memfd("flops-base", bytes);
  if (!file) {
    return fail(file.error());
  }
  std::uint64_t size = 0;
  if (auto read = storage_.read_model(model, part_sink(file->get(), size, bytes)); !read) {
    return fail(read.error());
  }
  if (size != bytes) {
    return fail(ErrorKind::corrupt, "model {} is stored with {} bytes, not {}", model.short_hex(), size, bytes);
  }
  return std::make_shared<Fd>(*std::move(file));
}

void Agent::begin_assemble(const EntryPtr& entry) {
  const wire::Task& task = entry->state.task;
  const TaskId id = entry->id();
  if (auto held = storage_.has_model(task.base); held && *held) {
    later(id, event::Assembled{});
    return;
  }
  if (!entry->work->blob) {
    // The model was held when the fetch was left out, and was dropped since.
    later(id, event::BaseMissing{});
    return;
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  if (!layout) {
    later(id, event::AssembleFailed{layout.error()});
    return;
  }
  AssembleInput input{*layout, task.base, *task.base_blob, entry->work->blob, nullptr};
  if (!task.base_blob_base.empty()) {
    auto& early = entry->work->delta_base;
    auto base =
        early ? Result<SharedFd>(std::exchange(early, nullptr)) : load_model(task.base_blob_base, layout->bytes());
    if (!base) {
      log::warn("agent", "task {}: the base of the delta cannot be read: {}", id, base.error().what);
      later(id, event::BaseMissing{});
      return;
    }
    input.delta_base = *base;
  }
  worker_.run([this, id, work = entry->work, input = std::move(input), &stop = worker_.stopping()]() -> Worker::After {
    Assembled outcome = assemble(input, stop);
    return [this, id, work, outcome = std::move(outcome)] {
      if (!work->abandoned && !stopping_) {
        assembled(id, outcome);
      }
    };
  });
}

void Agent::assembled(const TaskId& id, const Assembled& outcome) {
  const EntryPtr entry = find(id);
  if (!entry) {
    return;
  }
  const wire::Task task = entry->state.task;
  if (outcome.wrong_model && !task.base_blob_base.empty()) {
    // Either side's copy of the base may be the damaged one; a complete blob settles it.
    log::error("agent", "task {}: {}; the stored base {} is dropped", id, outcome.error->what,
               task.base_blob_base.short_hex());
    dispatch(id, event::BaseMissing{}, [this, task] { return storage_.drop_model(task.base_blob_base); });
    return;
  }
  if (outcome.error) {
    log::warn("agent", "task {}: {}", id, outcome.error->what);
    dispatch(id, event::AssembleFailed{*outcome.error});
    return;
  }
  entry->work->blob.reset();
  entry->work->base = outcome.model;
  dispatch(id, event::Assembled{});
  // Behind the start of the training, which need not wait for the disk.
  boost::asio::post(loop_, [this, state = entry->state, model = outcome.model] { keep_model(state, model); });
}

// The next round's delta builds on it, and a restarted agent begins with it.
void Agent::keep_model(const TaskState& of, const SharedFd& model) {
  auto layout = tensor::Layout::parse(of.task.layout_text);
  if (stopping_ || !layout) {
    return;
  }
  auto kept = storage_.transaction(
      [&]() -> Result<> {
        auto put = storage_.put_model(of.task.base, of.task.ref.run, of.task.layout_text, layout->bytes(),
                                      part_source(model), models_in_use());
        return put ? drop_blob_of(of) : put;
      },
      store::Durability::normal);
  if (kept) {
    tidy_soon();
  } else if (!storage_broken(kept.error())) {
    log::warn("agent", "model {} is not kept: {}; the next one has to be fetched whole", of.task.base.short_hex(),
              kept.error().what);
  }
}

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
  const std::shared_ptr<Work> work = entry->work;
  work->result = std::make_shared<Fd>(*std::move(result));
  auto started =
      trainer_.start(*job, work->base ? work->base->get() : -1, work->result->get(), callbacks_for(entry->id(), work));
  if (!started) {
    work->result.reset();
    later(entry->id(), event::TrainFailed{started.error()});
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
  if (kind == wire::TaskKind::init) {
    outcome.weight = 1;  // initial parameters come from one device and are not averaged
  } else {
    outcome.layout_text.clear();
  }
  work->outcome = outcome;
  dispatch(id, event::Trained{outcome});
}

void Agent::begin_encode(const EntryPtr& entry) {
  const wire::Task& task = entry->state.task;
  const TaskId id = entry->id();
  const std::shared_ptr<Work> work = entry->work;
  auto layout = tensor::Layout::parse(task.kind == wire::TaskKind::init ? work->outcome.layout_text : task.layout_text);
  auto codec = tensor::parse_codec(task.codec);
  if (!layout || !codec) {
    later(id, event::EncodeFailed{layout ? codec.error() : layout.error()});
    return;
  }
  worker_.run([this, id, work, codec = *codec, layout = *std::move(layout), values = work->result, base = work->base,
               &stop = worker_.stopping()]() -> Worker::After {
    auto update = encode_update(codec, layout, values->get(), base ? base->get() : -1, stop);
    return [this, id, work, update = std::move(update)] {
      if (work->abandoned || stopping_) {
        return;
      }
      work->base.reset();
      work->result.reset();
      if (update) {
        dispatch(id, event::Encoded{update->ref, work->outcome},
                 [this, id, update] { return storage_.put_update(id, update->ref, part_source(update->file)); });
      } else {
        dispatch(id, event::EncodeFailed{update.error()});
      }
      give_back_memory();
    };
  });
}

}  // namespace flops::agent
