#include "run_controller.hpp"

#include <algorithm>
#include <utility>

#include "flops/core/log.hpp"
#include "flops/health/conditions.hpp"

namespace flops::coordinator {

using rounds::Phase;

namespace {

// Why a run, or one of its clusters, waits, or what went wrong in it.
void log_reasons(const rounds::Tree& before, const rounds::Tree& now) {
  if (now.top.reason != before.top.reason && !now.top.reason.empty() && !rounds::is_over(now.top.phase)) {
    log::info("runs", "{}: {}", now.top.id, now.top.reason);
  }
  for (const auto& [cluster, part] : now.parts) {
    const auto old = before.parts.find(cluster);
    const bool same = old != before.parts.end() && old->second.reason == part.reason;
    if (!same && !part.reason.empty() && !rounds::is_over(part.phase)) {
      log::info("runs", "{}, cluster {}: {}", now.top.id, cluster, part.reason);
    }
  }
  for (const auto& [cluster, why] : now.skipped) {
    if (!before.skipped.contains(cluster)) {
      log::info("runs", "{}: cluster {} is skipped: {}", now.top.id, cluster, why);
    }
  }
}

// What devices start from.
std::map<rounds::ClusterId, Digest> models_of(const rounds::Tree& tree) {
  std::map<rounds::ClusterId, Digest> models{{rounds::ClusterId(), tree.top.model}};
  for (const auto& [cluster, part] : tree.parts) {
    models.emplace(cluster, part.model);
  }
  return models;
}

bool has_open_round(const rounds::RunState& state) {
  return state.phase == Phase::fitting || state.phase == Phase::aggregating;
}

}  // namespace

RunController::RunController(Parts parts, std::function<void()> changed)
    : parts_(std::move(parts)),
      changed_(std::move(changed)),
      started_(parts_.clock.steady()),
      grants_(static_cast<std::uint32_t>(parts_.config.limits.fleet_chunks),
              static_cast<std::uint32_t>(parts_.config.limits.device_chunks)) {}

void RunController::feed(const ClusterId& node, const rounds::Event& event) {
  if (active_) {
    advance([&] { return rounds::on_event(active_->tree, node, event, parts_.clock.steady()); });
  }
}

void RunController::advance(const std::function<std::vector<rounds::NodeAction>()>& step) {
  const rounds::Tree before = active_->tree;
  const auto actions = step();
  const log::Field run("FLOPS_RUN", active_->id().str());
  const log::Field round("FLOPS_ROUND", std::to_string(active_->tree.top.round));
  log_reasons(before, active_->tree);
  save(before);
  drop_open_round(before);
  count_dropped(before, actions);
  end_parts(before);
  if (models_of(before) != models_of(active_->tree)) {
    drop_old_versions();
  }
  if (!records_.settled()) {
    held_.insert(held_.end(), actions.begin(), actions.end());
    changed_();
    return;
  }
  perform(actions);
  if (active_ && active_->id() == before.top.id) {
    publish_changes(before);
  }
  changed_();
}

// A round that is given up because the run's goal is reached.
void RunController::drop_open_round(const rounds::Tree& before) {
  if (active_->tree.top.round < before.top.round) {
    record_round({}, before.top.round, "cancelled");
    sweep_due_ = true;
  }
}

// Tasks that were cancelled without an answer, when a round closed or the level above did not wait for it.
void RunController::count_dropped(const rounds::Tree& before, const std::vector<rounds::NodeAction>& actions) {
  const Phase phase = active_->tree.top.phase;
  const bool given_up = active_->tree.top.round < before.top.round;
  if (phase == Phase::stopped || phase == Phase::failed || given_up) {
    return;
  }
  std::map<ClusterId, std::int64_t> dropped;
  for (const rounds::NodeAction& one : actions) {
    const auto* cancel = std::get_if<rounds::CancelTask>(&one.action);
    dropped[one.node] += cancel != nullptr && !is_given_again(one.node, *cancel) ? 1 : 0;
  }
  for (const auto& [node, tasks] : dropped) {
    const auto part = before.parts.find(node);
    const rounds::RunState* state = node.empty() ? &before.top : part == before.parts.end() ? nullptr : &part->second;
    if (tasks == 0 || state == nullptr || !has_open_round(*state)) {
      continue;
    }
    record(fmt::format("dropped {} {} {}", active_->id(), node, state->round), "recording the round",
           [&registry = parts_.registry, run = active_->id(), round = state->round, node, tasks] {
             return registry.count_dropped(run, round, tasks, node);
           });
  }
}

// It was taken back for a pause, and has another name now.
bool RunController::is_given_again(const ClusterId& node, const rounds::CancelTask& cancelled) {
  const rounds::RunState* state = active_->tree.node(node);
  if (state == nullptr) {
    return false;
  }
  const auto found = state->participants.find(cancelled.device);
  return found != state->participants.end() && found->second.round == cancelled.round &&
         found->second.task != cancelled.task;
}

// Clusters that are not at work any more, or begin anew because the cycle went on without them.
void RunController::end_parts(const rounds::Tree& before) {
  for (const auto& [cluster, part] : before.parts) {
    const rounds::RunState* now = active_->tree.node(cluster);
    if (now != nullptr && now->part == part.part && now->first_round == part.first_round) {
      continue;
    }
    const auto node = active_->nodes.find(cluster);
    const bool handed_up = node != active_->nodes.end() && node->second.handed_up;
    if (part.part == rounds::Part::rounds && !handed_up) {
      record_round(cluster, part.round, "cancelled");
      sweep_due_ = true;
    }
    active_->nodes.erase(cluster);
  }
}

void RunController::perform(const std::vector<rounds::NodeAction>& actions) {
  const std::optional<RunId> run = active_ ? std::optional(active_->id()) : std::nullopt;
  for (const rounds::NodeAction& one : actions) {
    if (active_ && active_->id() == run) {  // one of them may end the run, and another begins
      std::visit([&](const auto& action) { perform(one.node, action); }, one.action);
    }
  }
}

void RunController::perform(const ClusterId&, const rounds::SendTask& action) {
  send_task(action.device, false);
}

void RunController::perform(const ClusterId& node, const rounds::CancelTask& action) {
  parts_.link.command(action.device, "cancel",
                      wire::encode(wire::Cancel{reference(action.task, action.round), action.reason}));
  if (const auto upload = active_->uploads.find(action.task); upload != active_->uploads.end()) {
    grants_.remove(action.task);
    if (upload->second.staging) {
      parts_.updates.discard(*std::move(upload->second.staging));
    }
    const bool may_be_in_sum = upload->second.stage == Upload::Stage::summing;
    active_->uploads.erase(upload);
    sweep_due_ = true;  // it may be stored already
    if (may_be_in_sum) {
      sum_again(node);  // without it: what is not recorded does not count
    }
  }
}

void RunController::perform(const ClusterId& node, const rounds::EvaluationClosed& action) {
  if (node.empty()) {
    record_round(node, action.round, "done");
  }
}

void RunController::perform(const ClusterId& node, const rounds::HandUp&) {
  hand_up(node);
}

void RunController::perform(const ClusterId&, const rounds::RunOver&) {
  Active& run = *active_;
  const rounds::RunState& top = run.tree.top;
  log::info("runs", "{} is {}{}{}", run.id(), rounds::to_string(top.phase), top.reason.empty() ? "" : ": ", top.reason);
  if (top.round > 0) {
    record_round({}, top.round, "done");
  }
  sweep_due_ = true;
  states_sweep_due_ = states_sweep_due_ || run.algorithm->state_vectors() + run.global->state_vectors() > 0;
  let_go();
  next_run();
}

// The active run is active no more.
void RunController::let_go() {
  publish_status();
  publish_clusters();
  discard_uploads();
  drop_blobs({});
  take_up_at_.reset();
  held_.clear();
  active_.reset();
  expected_.clear();
}

void RunController::discard_uploads() {
  for (auto& [task, upload] : active_->uploads) {
    grants_.remove(task);
    if (upload.staging) {
      parts_.updates.discard(*std::move(upload.staging));
    }
  }
  active_->uploads.clear();
}

void RunController::fleet_changed() {
  if (active_) {
    advance([this] { return rounds::on_available(active_->tree, grouped(), parts_.clock.steady()); });
  }
}

void RunController::tick() {
  if (auto synced = parts_.registry.sync(); !synced && is_storage_trouble(synced.error())) {
    storage_in_trouble(synced.error().within("syncing the steps of the last second"));
  }
  if (const auto unread = parts_.publisher.problem(); unread && !storage_probe_at_) {
    storage_in_trouble(unread->within("reading a model for the devices"));
  }
  look_at_storage();
  if (next_due_) {
    next_run();
  }
  sweep_updates();
  sweep_states();
  sweep_forgotten();
  if (!active_ || !records_.settled()) {
    return;
  }
  if (!expected_.empty() && parts_.clock.steady() >= expected_until_) {
    expect_nobody();
  }
  if (active_) {  // each of these may end the run
    take_up_again();
  }
  if (active_) {
    pause_stalled_uploads();
    advance([this] { return rounds::on_tick(active_->tree, parts_.clock.steady()); });
    look_at_goal();
  }
}

void RunController::pause_stalled_uploads() {
  const SteadyTime now = parts_.clock.steady();
  for (auto& [task, upload] : active_->uploads) {
    if (upload.staging && now - upload.last_chunk > parts_.config.limits.upload_stall) {
      upload.last_chunk = now;
      grants_.pause(task);  // until the device offers it again
    }
  }
  send_grants();
}

void RunController::connected() {
  parts_.publisher.republish();
  if (active_) {
    // What was sent while the link was down is gone, and so is a hello that came before the coordinator could listen.
    send_open_tasks();
    publish_status();
    publish_clusters();
  }
}

void RunController::refuse(const DeviceId& device, std::string_view about, std::string_view code,
                           std::string_view reason) {
  ++refusals_[std::string(code)];
  if (refusals_logged_.emplace(device, std::string(code)).second) {
    log::warn("refused", "{} of {}: {}: {}", about, device, code, reason);
  }
  parts_.link.command(device, "refused",
                      wire::encode(wire::Refused{std::string(about), std::string(code),
                                                 std::string(health::cut(reason, wire::max_reason))}));
}

}  // namespace flops::coordinator
