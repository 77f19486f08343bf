#include "cluster_view.hpp"

namespace flops::coordinator {

ClusterView cluster_view(const rounds::Tree& tree, const rounds::ClusterId& cluster) {
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

}  // namespace flops::coordinator
