// Recording the active run. On a disk that is full, read-only or broken what has to be recorded waits, what follows
// from it waits too, and both go on by themselves.
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/health/storage_check.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {
namespace {

constexpr std::chrono::seconds probe_pause{5};
// A record of a few bytes may find room in the write-ahead log when no update does.
constexpr std::uint64_t probe_room = std::uint64_t{1} << 20U;

// How a node differs from what is recorded of it.
struct Difference {
  bool any = false;
  std::optional<DeviceId> only_of;  // this one row, and perhaps the reason
};

Difference difference(const rounds::RunState* before, const rounds::RunState* now) {
  if (before == nullptr || now == nullptr) {
    return {before != now, {}};
  }
  std::vector<DeviceId> changed;
  std::size_t same = 0;
  for (const auto& [device, participant] : now->participants) {
    const auto found = before->participants.find(device);
    if (found == before->participants.end() || found->second != participant) {
      changed.push_back(device);
    }
    same += found != before->participants.end() ? 1U : 0U;
  }
  const bool rows_only = same == before->participants.size() && before->round == now->round &&
                         before->phase == now->phase && before->wanted == now->wanted && before->part == now->part &&
                         before->first_round == now->first_round && before->model == now->model &&
                         before->failed_initialisations == now->failed_initialisations;
  if (rows_only && changed.size() == 1) {
    return {true, changed.front()};
  }
  return {!rows_only || !changed.empty() || before->reason != now->reason, {}};
}

using Differences = std::map<rounds::ClusterId, Difference>;

Differences differences(const rounds::Tree& before, const rounds::Tree& now) {
  Differences found;
  const auto part = [](const rounds::Tree& tree, const rounds::ClusterId& cluster) {
    const auto place = tree.parts.find(cluster);
    return place == tree.parts.end() ? nullptr : &place->second;
  };
  const auto compare = [&found](const rounds::ClusterId& node, const rounds::RunState* old,
                                const rounds::RunState* fresh) {
    if (Difference one = difference(old, fresh); one.any) {
      found[node] = std::move(one);
    }
  };
  compare({}, &before.top, &now.top);
  for (const auto& [cluster, state] : now.parts) {
    compare(cluster, part(before, cluster), &state);
  }
  for (const auto& [cluster, state] : before.parts) {
    compare(cluster, &state, part(now, cluster));
  }
  return found;
}

}  // namespace

// Durable before anything is done about it. Only what changed is written: with many devices most events concern one.
void RunController::save(const rounds::Tree& before) {
  rounds::Tree& now = active_->tree;
  const Differences changed = differences(before, now);
  if (changed.empty()) {
    return;
  }
  if (records_.settled()) {
    unsaved_.clear();
    const auto& [node, one] = *changed.begin();
    if (changed.size() == 1 && one.only_of && parts_.registry.save_participant(*now.node(node), *one.only_of, node)) {
      return;
    }
  }
  for (const auto& [node, one] : changed) {
    unsaved_.insert(node);  // what waits is replaced by this
  }
  record(fmt::format("run {}", active_->id()), "recording the run",
         [&registry = parts_.registry, now, nodes = unsaved_] { return registry.save_tree(now, nodes); });
}

void RunController::record(std::string key, std::string_view doing, Records::Step step) {
  auto written = records_.write(std::move(key), std::move(step));
  if (!written && is_storage_trouble(written.error())) {
    storage_in_trouble(written.error().within(doing));
  } else if (!written) {
    log::error("runs", "{}: {}", doing, written.error().what);
  }
}

void RunController::record_round(const ClusterId& node, std::int64_t round, std::string_view state) {
  record(fmt::format("round {} {} {}", active_->id(), node, round), "recording the round",
         [&registry = parts_.registry, run = active_->id(), node, round, state = std::string(state)] {
           return registry.set_round_state(run, round, state, node);
         });
}

void RunController::storage_in_trouble(const Error& error) {
  parts_.health.raise(storage_condition, health::storage_trouble(error, parts_.config.state_folder.string()));
  if (!storage_probe_at_) {
    storage_probe_at_ = parts_.clock.steady() + probe_pause;
  }
}

void RunController::look_at_storage() {
  const SteadyTime now = parts_.clock.steady();
  if (!storage_probe_at_ || now < *storage_probe_at_) {
    return;
  }
  storage_probe_at_.reset();
  if (auto works = probe_storage(); !works) {
    storage_in_trouble(works.error());
    return;
  }
  if (take_up_at_) {
    storage_probe_at_ = now + probe_pause;  // whether that works is seen then
  } else {
    parts_.health.clear(storage_condition);
  }
  perform_held();
}

Result<> RunController::probe_storage() {
  const auto space = disk_space(parts_.config.state_folder);
  const std::string lack = health::lack_of_room(probe_room, space ? space->free : probe_room, "anything",
                                                parts_.config.state_folder.string());
  if (!lack.empty()) {
    return fail(ErrorKind::resource, "{}", lack);
  }
  if (auto written = parts_.registry.set_meta("probe", iso8601(unix_ms(parts_.clock.wall()))); !written) {
    return written;
  }
  if (auto recorded = records_.retry(); !recorded) {
    return recorded;
  }
  auto read = parts_.publisher.retry();
  return read ? read : fail(read.error(), "reading a model for the devices");
}

// What was decided while it could not be recorded. A round that is taken up anew opens or closes by that.
void RunController::perform_held() {
  std::vector<rounds::NodeAction> held = std::exchange(held_, {});
  if (take_up_at_) {
    std::erase_if(held, [](const rounds::NodeAction& one) {
      return std::holds_alternative<rounds::OpenRound>(one.action) ||
             std::holds_alternative<rounds::CloseRound>(one.action) ||
             std::holds_alternative<rounds::HandUp>(one.action);
    });
  }
  const bool any = !held.empty();
  perform(held);
  if (active_ && records_.settled() && std::exchange(tasks_held_, false)) {
    send_open_tasks();
  }
  if (any && active_) {
    publish_status();
    publish_clusters();
  }
  changed_();
}

}  // namespace flops::coordinator
