#include <tuple>

#include "flops/agent_task/task_machine.hpp"

namespace flops::agent {
namespace {

bool older(const wire::TaskRef& a, const wire::TaskRef& b) {
  return std::tie(a.cycle, a.round) < std::tie(b.cycle, b.round);
}

}  // namespace

Admission admit(const std::vector<const TaskState*>& open, const wire::Task& task) {
  Admission admission;
  for (const TaskState* other : open) {
    const wire::TaskRef& theirs = other->task.ref;
    if (theirs.task == task.ref.task) {
      return {};  // known already: the machine answers
    }
    if (theirs.run != task.ref.run) {
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
  return admission;
}

}  // namespace flops::agent
