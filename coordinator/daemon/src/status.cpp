// The state topics of the run and of its clusters.
#include "flops/health/conditions.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

namespace {

// Bytes of the rounds that `counts` picks, and the newest figures of those that `measures` picks.
template <class Status, class Counts, class Measures>
void add_rounds(Status& status, const std::vector<registry::RoundRow>& rows, Counts counts, Measures measures) {
  for (const registry::RoundRow& row : rows) {
    if (counts(row)) {
      status.bytes_up += row.bytes_up;
      status.bytes_down += row.bytes_down;
    }
    if (measures(row) && row.accuracy) {
      status.accuracy = *row.accuracy;
      status.loss = row.loss.value_or(0);
    }
  }
}

}  // namespace

void RunController::publish_status() {
  const rounds::Tree& tree = active_->tree;
  wire::RunStatus status;
  status.run = active_->id();
  status.state = rounds::to_string(tree.top.phase);
  status.cycle = tree.flat() ? rounds::cycle_of(tree.spec, tree.top.round) : tree.top.round;
  status.round = tree.top.round;
  status.rounds = rounds::last_round(tree.top);
  status.participants = static_cast<std::int64_t>(tree.flat() ? tree.top.participants.size() : 0);
  for (const auto& [cluster, part] : tree.parts) {
    status.participants += static_cast<std::int64_t>(part.participants.size());
  }
  if (auto rows = parts_.registry.rounds_of(active_->id())) {
    add_rounds(
        status, *rows, [](const registry::RoundRow&) { return true; },
        [](const registry::RoundRow& row) { return row.cluster.empty(); });
  }
  parts_.link.publish(parts_.link.topics().run_status(active_->id()), wire::encode(status), {.qos = 1, .retain = true});
}

void RunController::publish_clusters() {
  for (const ClusterId& cluster : clusters_in(active_->tree)) {
    publish_cluster(cluster);
  }
}

void RunController::publish_cluster(const ClusterId& cluster) {
  const rounds::Tree& tree = active_->tree;
  wire::ClusterStatus status;
  status.cluster = cluster.str();
  status.run = active_->id();
  status.cycle = tree.top.round;
  const ClusterView view = cluster_view(tree, cluster);
  status.state = view.state;
  status.reason = health::cut(view.reason, wire::max_reason);
  status.round = view.round;
  status.participants = view.participants;
  auto rows = parts_.registry.rounds_of(active_->id(), cluster);
  auto figures = parts_.registry.cluster_figures(active_->id(), cluster);
  if (rows && figures) {
    add_rounds(
        status, *rows, [](const registry::RoundRow&) { return true; }, [](const registry::RoundRow&) { return false; });
    for (const registry::ClusterFigures& of : *figures) {  // the newest ones stand
      status.accuracy = of.accuracy;
      status.loss = of.loss;
    }
  }
  if (tree.of_sites()) {  // whose own rounds are not recorded here
    auto sent = parts_.registry.bytes_up(active_->id());
    status.bytes_up = sent ? (*sent)[DeviceId::parse(status.cluster).value_or(DeviceId())] : 0;
  }
  parts_.link.publish(parts_.link.topics().cluster_status(status.cluster), wire::encode(status),
                      {.qos = 1, .retain = true});
}

void RunController::publish_changes(const rounds::Tree& before) {
  const rounds::Tree& now = active_->tree;
  if (before.top.phase != now.top.phase || before.top.round != now.top.round) {
    publish_status();
  }
  for (const ClusterId& cluster : clusters_in(now)) {
    if (cluster_view(before, cluster) != cluster_view(now, cluster)) {
      publish_cluster(cluster);
    }
  }
}

}  // namespace flops::coordinator
