// The steps of a task before and after its training: chunks, base model, update.
#include "agent.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

#include "flops/core/clock.hpp"
#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "memory.hpp"
#include "part_io.hpp"

namespace flops::agent {

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
    storage_failed(chunks.error(), Postponed::Kind::own, [this, id = entry.id()] { dispatch(id, event::Connected{}); });
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
  } else {
    log::warn("agent", "model {} is not kept yet: {}", of.task.base.short_hex(), kept.error().what);
    storage_failed(kept.error(), Postponed::Kind::own, [this, of, model] { keep_model(of, model); });
  }
}

void Agent::begin_encode(const EntryPtr& entry) {
  if (entry->state.continued && entry->state.continued->ends) {
    with_models(entry, [this, entry] {
      entry->work->result = entry->work->kept;
      encode(entry);
    });
  } else {
    encode(entry);
  }
}

void Agent::encode(const EntryPtr& entry) {
  const wire::Task task = entry->state.task;
  const TaskId id = entry->id();
  const std::shared_ptr<Work> work = entry->work;
  auto layout = tensor::Layout::parse(task.kind == wire::TaskKind::init ? work->outcome.layout_text : task.layout_text);
  const bool takes_sum = task.codec == wire::sum_codec;
  auto codec = tensor::parse_codec(takes_sum ? wire::lossless_codec : task.codec);
  if (!layout || !codec) {
    later(id, event::EncodeFailed{layout ? codec.error() : layout.error()});
    return;
  }
  // Of one round from the task's own base, and nothing else.
  const SharedFd sum = takes_sum && work->sum_bytes > 0 && !entry->state.continued ? work->sum : nullptr;
  worker_.run([this, id, task, work, codec = *codec, layout = *std::move(layout), values = work->result, sum,
               sum_bytes = work->sum_bytes, base = work->base, &stop = worker_.stopping()]() -> Worker::After {
    auto update = sum ? take_sum(layout, sum, sum_bytes, stop)
                      : encode_update(codec, layout, values->get(), base ? base->get() : -1, stop);
    return [this, id, task, work, update = std::move(update)] {
      if (work->abandoned || stopping_) {
        return;
      }
      work->base.reset();
      work->kept.reset();
      work->result.reset();
      work->sum.reset();
      if (update) {
        const SharedFd variates = std::exchange(work->variates, nullptr);
        dispatch(id, event::Encoded{update->ref, work->outcome, update->codec},
                 [this, task, update, variates] { return record_update(task, *update, variates); });
      } else {
        dispatch(id, event::EncodeFailed{update.error()});
      }
      give_back_memory();
    };
  });
}

}  // namespace flops::agent
