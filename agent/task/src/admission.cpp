#include <algorithm>
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

bool waits_for_receipt(const TaskState& state) {
  const bool says_update = state.result && state.result->ok && state.result->update.size > 0;
  return state.task.kind == wire::TaskKind::train && state.task.training.control_variates && says_update;
}

bool must_wait(const std::vector<const TaskState*>& open, const TaskState& state) {
  const wire::TaskRef& ref = state.task.ref;
  return state.task.kind == wire::TaskKind::train && std::ranges::any_of(open, [&](const TaskState* other) {
           return other->task.ref.run == ref.run && other->task.ref.task != ref.task && waits_for_receipt(*other);
         });
}

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
    if (!waits_for_receipt(*other)) {
      admission.superseded.push_back(theirs.task);
    }
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
