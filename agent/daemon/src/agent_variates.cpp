// SCAFFOLD on the device: its own control variate goes to the trainer, the new one is kept with the update, and becomes
// the run's when the update counts.
#include "agent.hpp"

#include <algorithm>

#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "part_io.hpp"

namespace flops::agent {
namespace {

bool has_variates(const wire::Task& task) {
  return task.kind == wire::TaskKind::train && task.training.control_variates;
}

}  // namespace

// As large as the task's layout: the variate as it is, zeros in the run's first task, and room for the new one.
Result<> Agent::prepare_variates(const EntryPtr& entry) {
  const wire::Task& task = entry->state.task;
  if (!has_variates(task) || entry->work->variates) {
    return {};
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  auto memory = layout ? trainer::make_memfd("flops-variates", layout->bytes()) : fail(layout.error());
  if (!memory) {
    return fail(memory.error());
  }
  auto read = read_variate_into(task.ref.run, memory->get(), layout->bytes() / 2);
  if (!read && read.error().kind == ErrorKind::corrupt) {
    // To begin with zeros again costs some rounds of worse corrections; not to train costs all.
    log::error("agent", "task {}: {}; it begins with zeros", entry->id(), read.error().what);
    memory = trainer::make_memfd("flops-variates", layout->bytes());
    read = memory ? Result<>() : fail(memory.error());
  }
  if (!read) {
    return read;
  }
  entry->work->variates = std::make_shared<Fd>(*std::move(memory));
  return {};
}

Result<> Agent::read_variate_into(const RunId& run, int file, std::uint64_t bytes) {
  auto stored = storage_.variate_bytes(run);
  if (!stored || !*stored) {
    return stored ? Result<>() : fail(stored.error());
  }
  if (**stored != bytes) {
    return fail(ErrorKind::corrupt, "the control variate of run {} has {} bytes, not {}", run, **stored, bytes);
  }
  std::uint64_t size = 0;
  auto read = storage_.read_variate(run, part_sink(file, size, bytes));
  if (read && size != bytes) {
    return fail(ErrorKind::corrupt, "the control variate of run {} is shorter than recorded", run);
  }
  return read;
}

// In the transaction that makes the result durable. `variates` is what the trainer had, or none.
Result<> Agent::record_update(const wire::Task& task, const EncodedUpdate& update, const SharedFd& variates) {
  const wire::TaskRef& ref = task.ref;
  auto done = storage_.drop_checkpoint(ref.task);
  done = done ? storage_.put_update(ref.task, update.ref, part_source(update.file)) : done;
  if (!done || !variates || !has_variates(task)) {
    return done;
  }
  auto layout = tensor::Layout::parse(task.layout_text);
  if (!layout) {
    return fail(layout.error());
  }
  const std::uint64_t bytes = layout->bytes() / 2;
  return storage_.put_variate(ref.task, ref.run, bytes, [&](std::uint64_t offset, std::span<std::byte> into) {
    return read_at(variates->get(), bytes + offset, into);
  });
}

Result<> Agent::adopt_variate(const wire::TaskRef& ref) {
  std::vector<RunId> runs;
  std::ranges::transform(entries_, std::back_inserter(runs),
                         [](const EntryPtr& entry) { return entry->state.task.ref.run; });
  return storage_.adopt_variate(ref.task, ref.run, runs);
}

}  // namespace flops::agent
