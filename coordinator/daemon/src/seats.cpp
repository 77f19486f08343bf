// Who is where in the tree: devices, by the clusters that the run groups them in.
#include "run_controller.hpp"

namespace flops::coordinator {

RunController::Seat RunController::seat_of(const DeviceId& device) {
  Seat seat;
  rounds::Tree& tree = active_->tree;
  if (!tree.flat()) {
    const auto found = active_->cluster_of.find(device);
    if (found == active_->cluster_of.end()) {
      return seat;
    }
    seat.node = found->second;
  }
  seat.state = tree.node(seat.node);
  if (seat.state != nullptr) {
    const auto found = seat.state->participants.find(device);
    seat.participant = found == seat.state->participants.end() ? nullptr : &found->second;
  }
  return seat;
}

// A device that changes its label is in its new cluster from the next cycle on: in one cycle it counts in one place.
void RunController::regroup() {
  active_->cluster_of.clear();
  for (const auto& [cluster, part] : active_->tree.parts) {
    for (const auto& [device, participant] : part.participants) {
      active_->cluster_of.emplace(device, cluster);
    }
  }
}

// Those that may be asked. Clusters of which nobody is online are named too.
std::map<rounds::ClusterId, std::set<DeviceId>> RunController::grouped() {
  std::set<DeviceId> available = parts_.fleet.available(active_->spec(), active_->role());
  available.insert(expected_.begin(), expected_.end());
  std::map<ClusterId, std::set<DeviceId>> groups;
  if (active_->tree.flat()) {
    groups[{}] = std::move(available);
    return groups;
  }
  for (const auto& [cluster, members] : active_->spec().clusters.members) {
    groups[cluster];
  }
  for (const DeviceId& id : parts_.fleet.able(active_->spec(), active_->role())) {
    auto place = active_->cluster_of.find(id);
    if (place == active_->cluster_of.end()) {
      const ClusterId cluster =
          rounds::cluster_of(active_->spec().clusters, id, parts_.fleet.find(id)->row.hello->labels);
      if (cluster.empty()) {
        continue;
      }
      place = active_->cluster_of.emplace(id, cluster).first;
    }
    std::set<DeviceId>& group = groups[place->second];
    if (available.contains(id)) {
      group.insert(id);
    }
  }
  return groups;
}

}  // namespace flops::coordinator
