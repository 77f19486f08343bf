#include <tuple>

#include "flops/agent_task/task_machine.hpp"

namespace flops::agent {
namespace {

bool older(const wire::TaskRef& a, const wire::TaskRef& b) {
  return std::tie(a.cycle, a.round) < std::tie(b.cycle, b.round);
}

std::uint64_t waiting_bytes(const TaskState& state) {
  return state.result ? state.result->update.size : 0;
}

}  // namespace

Admission admit(const std::vector<const TaskState*>& open, const wire::Task& task, std::uint64_t outbox_quota) {
  Admission admission;
  std::uint64_t waiting = 0;
  for (const TaskState* other : open) {
    const wire::TaskRef& theirs = other->task.ref;
    if (theirs.task == task.ref.task) {
      return {};  // known already: the machine answers
    }
    if (theirs.run != task.ref.run) {
      waiting += waiting_bytes(*other);
      continue;
    }
    if (older(task.ref, theirs)) {
      return {fmt::format("round {} of run {} is at work here already", theirs.round, theirs.run), {}};
    }
    admission.superseded.push_back(theirs.task);
  }
  if (open.size() - admission.superseded.size() >= max_open_tasks) {
    return {fmt::format("{} tasks are at work here already", open.size()), {}};
  }
  if (task.kind != wire::TaskKind::evaluate && waiting >= outbox_quota) {
    return {fmt::format("updates of {} bytes wait for their receipts here already (state.outbox_quota_mb)", waiting),
            {}};
  }
  return admission;
}

}  // namespace flops::agent
