#include "flops/rounds/tree.hpp"

#include <algorithm>
#include <utility>

namespace flops::rounds {

using wire::TaskKind;

namespace {

// To the top a cluster is a participant like a device.
DeviceId as_participant(const ClusterId& cluster) {
  return DeviceId::parse(cluster.str()).value_or(DeviceId());
}
ClusterId as_cluster(const DeviceId& participant) {
  return ClusterId::parse(participant.str()).value_or(ClusterId());
}

RunSpec top_spec(const RunSpec& spec) {
  RunSpec top = spec;
  if (spec.clusters.by == Grouping::By::nothing) {
    top.rounds = spec.cycles * spec.rounds;
    return top;
  }
  top.rounds = spec.cycles;
  top.min_fit = spec.global.min_fit;
  top.min_available = spec.global.min_available;
  top.fraction = spec.global.fraction;
  top.over_select = 0;
  top.candidates = 0;  // clusters report no loss
  top.mode = Mode::sync;
  top.buffer = 0;
  top.max_staleness = spec.global.max_staleness;
  top.deadline_seconds = spec.global.deadline_seconds;
  return top;
}

RunSpec part_spec(const RunSpec& spec) {
  RunSpec part = spec;
  part.clusters = {};
  return part;
}

// The sum of a cluster's only round goes up as it is.
bool sum_goes_up(const RunState& part) {
  return part.part == Part::rounds && part.spec.rounds == 1;
}

Part part_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::init: return Part::initialise;
    case TaskKind::evaluate: return Part::evaluate;
    case TaskKind::train: break;
  }
  return Part::rounds;
}

// One call from outside: feeds machines until nothing is left to tell them.
class Step {
 public:
  Step(Tree& tree, SteadyTime now) : tree_(tree), now_(now) {}
  [[nodiscard]] std::vector<NodeAction> take() { return std::move(out_); }

  void feed(const ClusterId& node, const Event& event) {
    if (std::holds_alternative<HandedUp>(event)) {
      handed_up(node);
      return;
    }
    if (RunState* state = tree_.node(node)) {
      carry_out(node, on_event(*state, event, now_));
    }
  }

  // The machine of the top, and with it those of the clusters it has asked.
  void restart() {
    std::vector<ClusterId> at_work;
    std::ranges::transform(tree_.parts, std::back_inserter(at_work), &std::pair<const ClusterId, RunState>::first);
    for (const Action& action : on_restart(tree_.top, now_)) {
      const auto* send = std::get_if<SendTask>(&action);
      const bool goes_on = !tree_.flat() && send != nullptr && tree_.parts.contains(as_cluster(send->device));
      if (!goes_on) {
        carry_out({}, {action});
      }
    }
    for (const ClusterId& cluster : at_work) {
      restart_part(cluster);
    }
  }

 private:
  void restart_part(const ClusterId& cluster) {
    const auto part = tree_.parts.find(cluster);
    if (part == tree_.parts.end()) {
      return;
    }
    if (!is_over(part->second.phase)) {
      carry_out(cluster, on_restart(part->second, now_));
      return;
    }
    if (tree_.spec.rounds == 1) {
      out_.push_back({cluster, OpenRound{part->second.round}});
    }
    part_over(cluster);
  }

  void carry_out(const ClusterId& node, const std::vector<Action>& actions) {
    const bool inner = node.empty() && !tree_.flat();
    for (const Action& action : actions) {
      if (const auto* send = std::get_if<SendTask>(&action); inner && send != nullptr) {
        begin(as_cluster(send->device), *send);
      } else if (const auto* cancel = std::get_if<CancelTask>(&action); inner && cancel != nullptr) {
        end(as_cluster(cancel->device), cancel->reason);
      } else if (!node.empty() && std::holds_alternative<RunOver>(action)) {
        part_over(node);
      } else {
        out_.push_back({node, action});
      }
    }
  }

  // The top asks a cluster.
  void begin(const ClusterId& cluster, const SendTask& task) {
    RunState& part = tree_.parts[cluster];
    part = RunState();
    part.id = tree_.top.id;
    part.spec = part_spec(tree_.spec);
    part.part = part_of(task.kind);
    part.sum_goes_up = sum_goes_up(part);
    part.model = tree_.top.model;
    part.available = tree_.available[cluster];
    part.losses = tree_.losses;
    part.first_round = (task.round - 1) * tree_.spec.rounds + 1;
    // Evaluation is of the cycle's model, after the last of its rounds.
    part.round = task.kind == TaskKind::evaluate ? task.round * tree_.spec.rounds : 0;
    carry_out(cluster, begin_part(part, now_));
  }

  // The top does not want the cluster's result any more.
  void end(const ClusterId& cluster, const std::string& reason) {
    const auto part = tree_.parts.find(cluster);
    if (part == tree_.parts.end()) {
      return;
    }
    for (const auto& [device, participant] : part->second.participants) {
      if (participant.answer == Answer::none) {
        out_.push_back({cluster, CancelTask{device, participant.task, participant.round, reason}});
      }
    }
    tree_.parts.erase(part);
  }

  void part_over(const ClusterId& cluster) {
    const RunState& part = tree_.parts.at(cluster);
    const DeviceId participant = as_participant(cluster);
    const auto asked = tree_.top.participants.find(participant);
    if (asked == tree_.top.participants.end()) {
      tree_.parts.erase(cluster);
      return;
    }
    const TaskId task = asked->second.task;
    if (part.phase == Phase::finished && part.part == Part::rounds) {
      out_.push_back({cluster, HandUp{task}});
      return;
    }
    const Event answer = part.phase != Phase::finished   ? Event(TaskFailed{participant, task, part.reason})
                         : part.part == Part::initialise ? Event(Initialised{participant, task, part.model})
                                                         : Event(Evaluated{participant, task});
    tree_.parts.erase(cluster);
    feed({}, answer);
  }

  void handed_up(const ClusterId& cluster) {
    const auto part = tree_.parts.find(cluster);
    if (part == tree_.parts.end() || part->second.phase != Phase::finished) {
      return;
    }
    tree_.parts.erase(part);
    const DeviceId participant = as_participant(cluster);
    if (const auto asked = tree_.top.participants.find(participant); asked != tree_.top.participants.end()) {
      feed({}, Contributed{participant, asked->second.task});
    }
  }

  Tree& tree_;
  SteadyTime now_;
  std::vector<NodeAction> out_;
};

}  // namespace

RunState* Tree::node(const ClusterId& cluster) {
  if (cluster.empty()) {
    return &top;
  }
  const auto found = parts.find(cluster);
  return found == parts.end() ? nullptr : &found->second;
}

Tree make_tree(const RunId& id, const RunSpec& spec) {
  Tree tree;
  tree.spec = spec;
  tree.top.id = id;
  tree.top.spec = top_spec(spec);
  return tree;
}

Tree make_tree(RunState top, std::map<ClusterId, RunState> parts) {
  Tree tree = make_tree(top.id, top.spec);
  top.spec = tree.top.spec;
  tree.top = std::move(top);
  tree.parts = std::move(parts);
  for (auto& [cluster, part] : tree.parts) {
    part.id = tree.top.id;
    part.spec = part_spec(tree.spec);
    part.sum_goes_up = sum_goes_up(part);
  }
  return tree;
}

namespace {

// Who of these can be asked; says of the others why not.
std::set<DeviceId> clusters_with_enough(Tree& tree) {
  tree.skipped.clear();
  std::set<DeviceId> clusters;
  for (const auto& [cluster, members] : tree.available) {
    if (cluster.empty()) {
      continue;  // devices of no cluster
    }
    if (std::cmp_less(members.size(), tree.spec.min_fit)) {
      tree.skipped[cluster] = fmt::format("{} of {} devices with the data '{}' are online", members.size(),
                                          tree.spec.min_fit, tree.spec.data);
    } else {
      clusters.insert(as_participant(cluster));
    }
  }
  return clusters;
}

}  // namespace

std::vector<NodeAction> on_restart(Tree& tree, std::map<ClusterId, std::set<DeviceId>> devices, SteadyTime now) {
  tree.available = std::move(devices);
  tree.top.available = tree.flat() ? tree.available[{}] : clusters_with_enough(tree);
  for (auto& [cluster, part] : tree.parts) {
    part.available = tree.available[cluster];
    part.losses = tree.losses;
  }
  if (tree.flat()) {
    tree.top.losses = tree.losses;
  }
  Step step(tree, now);
  step.restart();
  return step.take();
}

std::int64_t cycle_of(const RunSpec& spec, std::int64_t round) {
  const bool cycles = spec.clusters.by == Grouping::By::sites;
  return std::max<std::int64_t>(1, cycles ? round : (round + spec.rounds - 1) / spec.rounds);
}

std::vector<NodeAction> on_available(Tree& tree, std::map<ClusterId, std::set<DeviceId>> devices, SteadyTime now) {
  tree.available = std::move(devices);
  Step step(tree, now);
  if (tree.flat()) {
    step.feed({}, DevicesAvailable{tree.available[{}]});
    return step.take();
  }
  std::vector<ClusterId> at_work;
  std::ranges::transform(tree.parts, std::back_inserter(at_work), &std::pair<const ClusterId, RunState>::first);
  for (const ClusterId& cluster : at_work) {
    step.feed(cluster, DevicesAvailable{tree.available[cluster]});
  }
  step.feed({}, DevicesAvailable{clusters_with_enough(tree)});
  return step.take();
}

std::vector<NodeAction> on_event(Tree& tree, const ClusterId& node, const Event& event, SteadyTime now) {
  Step step(tree, now);
  step.feed(node, event);
  return step.take();
}

void note_loss(Tree& tree, const DeviceId& device, double loss) {
  if (tree.spec.candidates == 0) {
    return;
  }
  tree.losses[device] = loss;
  tree.top.losses[device] = loss;
  for (auto& [cluster, part] : tree.parts) {
    part.losses[device] = loss;
  }
}

std::vector<NodeAction> on_pause(Tree& tree, SteadyTime now) {
  Step step(tree, now);
  if (tree.flat()) {
    step.feed({}, TakenBack{});
  }
  for (auto& [cluster, part] : tree.parts) {
    step.feed(cluster, TakenBack{});
  }
  return step.take();
}

std::vector<NodeAction> on_tick(Tree& tree, SteadyTime now) {
  Step step(tree, now);
  std::vector<ClusterId> nodes{{}};
  std::ranges::transform(tree.parts, std::back_inserter(nodes), &std::pair<const ClusterId, RunState>::first);
  for (const ClusterId& node : nodes) {
    step.feed(node, Tick{});
  }
  return step.take();
}

}  // namespace flops::rounds
