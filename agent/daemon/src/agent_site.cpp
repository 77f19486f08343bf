// The uplink of a site: what this agent does otherwise when it stands for a whole fleet (docs/protocol.md, "Sites").
#include "agent.hpp"

#include <algorithm>

#include "flops/core/log.hpp"

namespace flops::agent {
namespace {

// A part that goes on without a link is another one: it has another base.
std::string key_of_part(const TaskState& state) {
  const TaskId& task = state.task.ref.task;
  return state.continued ? fmt::format("{}.{}", task, state.continued->rounds) : task.str();
}

}  // namespace

void Agent::start_site_watch() {
  if (!config_.is_uplink()) {
    return;
  }
  if (auto known = storage_.datasets()) {  // what the site had last: its coordinator may come up later
    datasets_ = *std::move(known);
  } else {
    log::warn("agent", "reading the data sets: {}", known.error().what);
  }
  site_watch_.emplace(loop_.get_executor(), config_.site,
                      [this](Result<std::vector<wire::Dataset>> answer) { site_heard(std::move(answer)); });
  site_watch_->start();
}

void Agent::site_heard(Result<std::vector<wire::Dataset>> answer) {
  if (!answer) {
    raise(site_condition, fmt::format("the site's coordinator at {} does not say what its devices have: {}",
                                      config_.site.url, answer.error().what));
    return;
  }
  clear(site_condition);
  if (*answer == datasets_) {
    return;
  }
  set_datasets(*std::move(answer));
  if (link_->up()) {
    greet();
  }
}

// Why this task is for somebody else; empty: it is not.
std::string Agent::problem_with_part(const wire::Task& task) const {
  const bool sum = task.codec == wire::sum_codec;
  if (!config_.is_uplink()) {
    return task.part ? "this task is a part for a site, and this is a device"
           : sum     ? "the codec 'sum' is of sites, and this is a device"
                     : "";
  }
  if (!task.part) {
    return "this is the uplink of a site: only tasks with a part are for it";
  }
  if (sum && task.kind != wire::TaskKind::train) {
    return "the codec 'sum' is of training";
  }
  return task.training.control_variates ? "a site has no control variates of its own" : "";
}

trainer::Part Agent::part_of(const TaskState& state) const {
  const wire::Task& task = state.task;
  trainer::Part part;
  part.key = key_of_part(state);
  part.first_round = task.part->first_round;
  part.local_round = state.continued ? state.continued->rounds : 0;
  part.spec = task.part->spec;
  part.base = state.continued ? state.continued->parameters : task.base;
  part.layout = task.layout_text;
  part.sum = task.kind == wire::TaskKind::train && task.codec == wire::sum_codec && !state.continued;
  for (const EntryPtr& other : entries_) {
    if (other->id() != task.ref.task && !other->state.result && part.needed.size() < trainer::max_needed_parts) {
      part.needed.push_back(key_of_part(other->state));
    }
  }
  return part;
}

// A round that the site has done is not lost when the worker dies: it is a checkpoint of its own.
void Agent::site_progress(const TaskId& id, Work& work, const trainer::Progress& progress) {
  if (!config_.is_uplink() || progress.phase != "training") {
    return;
  }
  if (progress.done > work.site_rounds.value_or(progress.done)) {
    dispatch(id, event::Checkpointed{});
  }
  work.site_rounds = progress.done;
}

// Where the site may put its sum.
Result<> Agent::prepare_sum(Work& work, bool wanted) {
  work.sum.reset();
  work.sum_bytes = 0;
  if (!wanted) {
    return {};
  }
  auto memory = trainer::make_memfd("flops-sum", 0);
  if (!memory) {
    return fail(memory.error());
  }
  work.sum = std::make_shared<Fd>(*std::move(memory));
  return {};
}

}  // namespace flops::agent
