// What devices measured of the models that they were given.
#include <algorithm>

#include "run_controller.hpp"

namespace flops::coordinator {

using wire::TaskKind;

void RunController::on_metrics(const DeviceId& device, const wire::Metrics& metrics) {
  if (!active_) {
    return;
  }
  const Seat seat = seat_of(device);
  if (seat.participant == nullptr || seat.participant->task != metrics.ref.task) {
    return;  // of a round that is over: the next one measures again
  }
  if (metrics.model != seat.participant->base) {
    refuse(device, "up/metrics", "field", "'model' is not the model of the task");
    return;
  }
  if (Device* known = parts_.fleet.find(device)) {
    known->models.insert(seat.participant->base);  // it measured it, so it holds it
  }
  if (!is_late(seat)) {  // else the figures of that model are final
    record_metrics(device, seat, metrics);
  }
}

// Itself, or with its cluster.
bool RunController::is_late(const Seat& seat) const {
  if (rounds::staleness(*seat.state, *seat.participant) > 0) {
    return true;
  }
  const rounds::RunState& top = active_->tree.top;
  const auto cluster = top.participants.find(DeviceId::parse(seat.node.str()).value_or(DeviceId()));
  return !seat.node.empty() && cluster != top.participants.end() && rounds::staleness(top, cluster->second) > 0;
}

// While round r trains, the model that round r - 1 made is measured; in the first round of a cycle that is the model of
// the cycle before, which is the top's.
RunController::Measured RunController::measured_by(const Seat& seat) const {
  const bool training = seat.participant->kind == TaskKind::train;
  if (seat.node.empty()) {
    return {{}, seat.state->round - (training ? 1 : 0)};
  }
  if (training && seat.state->round > seat.state->first_round) {
    return {seat.node, seat.state->round - 1};
  }
  return {{}, active_->tree.top.round - (training ? 1 : 0)};
}

void RunController::record_metrics(const DeviceId& device, const Seat& seat, const wire::Metrics& metrics) {
  const Measured measured = measured_by(seat);
  if (measured.round < 1) {
    return;
  }
  wire::Metrics said = metrics;
  if (!active_->tree.of_sites()) {
    said.spread.reset();  // a device is one device
  }
  const ClusterId member =
      active_->tree.of_sites() ? rounds::cluster_of(active_->spec().clusters, device, {}) : seat.node;
  record(fmt::format("metrics {} {} {} {}", active_->id(), measured.node, measured.round, device), "recording metrics",
         [&registry = parts_.registry, run = active_->id(), measured, device, said, member] {
           return registry.save_metrics(run, measured.round, device, said, measured.node, member);
         });
  active_->nodes[seat.node].evaluated.insert(device);
  if (seat.participant->kind == TaskKind::train && all_have_measured(measured)) {
    record_round(measured.node, measured.round, "done");
    goal_due_ = goal_due_ || measured.node.empty();
    publish_status();
    if (!member.empty()) {
      publish_cluster(member);
    }
  }
  changed_();
  look_at_goal();
}

// Of a cycle's model that takes all clusters that are in their first round.
bool RunController::all_have_measured(const Measured& measured) const {
  const auto have = [this](const ClusterId& node, const rounds::RunState& state) {
    const auto asked = std::ranges::count_if(
        state.participants, [&](const auto& entry) { return rounds::staleness(state, entry.second) == 0; });
    const auto open = active_->nodes.find(node);
    return open != active_->nodes.end() && std::cmp_greater_equal(open->second.evaluated.size(), asked);
  };
  const rounds::Tree& tree = active_->tree;
  if (tree.flat()) {
    return have({}, tree.top);
  }
  if (!measured.node.empty()) {
    return have(measured.node, tree.parts.at(measured.node));
  }
  return std::ranges::all_of(tree.parts, [&](const auto& entry) {
    return entry.second.round > entry.second.first_round || have(entry.first, entry.second);
  });
}

}  // namespace flops::coordinator
