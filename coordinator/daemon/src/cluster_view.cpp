#include "cluster_view.hpp"

#include <algorithm>
#include <string_view>

namespace flops::coordinator {

namespace {

std::string_view doing(const rounds::Participant& participant) {
  switch (participant.answer) {
    case rounds::Answer::failed: return "failed";
    case rounds::Answer::contributed: return "handed_up";
    case rounds::Answer::none: break;
  }
  switch (participant.kind) {
    case wire::TaskKind::init: return "initialising";
    case wire::TaskKind::evaluate: return "evaluating";
    case wire::TaskKind::train: break;
  }
  return "fitting";
}

ClusterView site_view(const rounds::Tree& tree, const DeviceId& site) {
  ClusterView view;
  if (rounds::is_over(tree.top.phase)) {
    view.state = to_string(tree.top.phase);
    view.round = tree.top.round * tree.spec.rounds;
    return view;
  }
  const auto asked = tree.top.participants.find(site);
  if (asked != tree.top.participants.end()) {
    const rounds::Participant& participant = asked->second;
    view.state = doing(participant);
    view.reason = participant.answer == rounds::Answer::failed ? tree.top.reason : "";
    view.round = participant.round * tree.spec.rounds;  // the last one of its cycle
    return view;
  }
  const bool online = tree.top.available.contains(site);
  view.state = online ? "waiting" : "skipped";
  view.reason = online ? "" : fmt::format("the site is not online with the data '{}'", tree.spec.data);
  return view;
}

}  // namespace

ClusterView cluster_view(const rounds::Tree& tree, const rounds::ClusterId& cluster) {
  if (tree.of_sites()) {
    return site_view(tree, DeviceId::parse(cluster.str()).value_or(DeviceId()));
  }
  ClusterView view;
  if (const auto part = tree.parts.find(cluster); part != tree.parts.end()) {
    const rounds::RunState& state = part->second;
    view.state = state.phase == rounds::Phase::finished ? "handing_up" : to_string(state.phase);
    view.reason = state.reason;
    view.round = state.round;
    view.participants = static_cast<std::int64_t>(state.participants.size());
    return view;
  }
  view.round = tree.top.round * tree.spec.rounds;
  if (rounds::is_over(tree.top.phase)) {
    view.state = to_string(tree.top.phase);
    return view;
  }
  const auto asked = tree.top.participants.find(DeviceId::parse(cluster.str()).value_or(DeviceId()));
  if (asked != tree.top.participants.end() && tree.top.phase != rounds::Phase::initialising) {
    const bool failed = asked->second.answer == rounds::Answer::failed;
    view.state = failed ? "failed" : "handed_up";
    view.reason = failed ? tree.top.reason : "";
    return view;
  }
  const auto skipped = tree.skipped.find(cluster);
  view.state = skipped == tree.skipped.end() ? "waiting" : "skipped";
  view.reason = skipped == tree.skipped.end() ? "" : skipped->second;
  view.round = 0;
  return view;
}

std::set<rounds::ClusterId> clusters_in(const rounds::Tree& tree) {
  std::set<rounds::ClusterId> clusters;
  if (tree.of_sites()) {
    const auto add = [&](const DeviceId& site) { clusters.insert(rounds::cluster_of(tree.spec.clusters, site, {})); };
    std::ranges::for_each(tree.top.available, add);
    std::ranges::for_each(tree.top.participants, add, &std::pair<const DeviceId, rounds::Participant>::first);
    return clusters;
  }
  for (const auto& [cluster, members] : tree.available) {
    clusters.insert(cluster);
  }
  for (const auto& [cluster, part] : tree.parts) {
    clusters.insert(cluster);
  }
  clusters.erase(rounds::ClusterId());
  return clusters;
}

}  // namespace flops::coordinator
