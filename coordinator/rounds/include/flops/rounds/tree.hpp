// Hierarchical FedAvg in one process: a machine for the run, whose participants are clusters, and a machine for each
// cluster at work, whose participants are devices. Pure, like the machines it is made of.
//
// A cycle is one round of the top: every cluster that is asked gets the global model, does spec.rounds rounds of its
// own, and hands up its sum (one round) or its model with its weight (several); the top averages. Rounds of clusters
// are counted through all cycles, so that with one round a cycle every device gets the seed, and the model gets the
// bits, of a flat run. A flat run is a tree without clusters: the top's participants are the devices themselves.
//
// So is one whose clusters are sites: its participants are the sites' coordinators, and its rounds are cycles
// (flops/rounds/site.hpp).
//
// A cluster with fewer devices than spec.min_fit is not asked, and the tree says so; one that loses its devices at work
// is waited for until the top's deadline. What a cluster hands up late counts by the top's max_staleness.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "flops/rounds/grouping.hpp"
#include "flops/rounds/run_machine.hpp"

namespace flops::rounds {

struct Tree {
  RunSpec spec;                                       // of the run, as it was asked for
  RunState top;                                       // its spec is that of the level
  std::map<ClusterId, RunState> parts;                // clusters at work
  std::map<ClusterId, std::string> skipped;           // not asked, and why; as last told, not stored
  std::map<ClusterId, std::set<DeviceId>> available;  // as last told, not stored
  std::map<DeviceId, double> losses;                  // of training, as last reported; not stored

  [[nodiscard]] bool flat() const { return !spec.clusters.inside(); }
  [[nodiscard]] bool of_sites() const { return spec.clusters.by == Grouping::By::sites; }
  // The machine of a cluster, or the top (none). nullptr: no such part.
  [[nodiscard]] RunState* node(const ClusterId& cluster);
};

[[nodiscard]] Tree make_tree(const RunId& id, const RunSpec& spec);
// From what was recorded of its machines; the top's spec is the run's.
[[nodiscard]] Tree make_tree(RunState top, std::map<ClusterId, RunState> parts);

// What is to be done at a node: a cluster, or the top (none). To a flat tree's top SendTask and CancelTask name
// devices; a tree with clusters never says them of its top.
struct NodeAction {
  ClusterId node;
  Action action;
};

// The devices that are online and have the run's data, by cluster; of a flat run all under none. A cluster without any
// may be named too: then it is skipped with a reason.
[[nodiscard]] std::vector<NodeAction> on_available(Tree& tree, std::map<ClusterId, std::set<DeviceId>> devices,
                                                   SteadyTime now);
// An event of this node. One of a cluster that is not at work (any more) changes nothing.
[[nodiscard]] std::vector<NodeAction> on_event(Tree& tree, const ClusterId& node, const Event& event, SteadyTime now);
// The cycle of a round that is counted through all cycles; 1 also for what is before the first. To sites a cycle is a
// round.
[[nodiscard]] std::int64_t cycle_of(const RunSpec& spec, std::int64_t round);
// A device said its training loss: selection by loss knows it from the next round on.
void note_loss(Tree& tree, const DeviceId& device, double loss);
// After a restart, as for one machine: `devices` as for on_available(), of whom nobody is asked because of that. What a
// cluster had to hand up is handed up again, after an OpenRound when that is its sum.
[[nodiscard]] std::vector<NodeAction> on_restart(Tree& tree, std::map<ClusterId, std::set<DeviceId>> devices,
                                                 SteadyTime now);
// Takes the tasks of all devices back (TakenBack). on_restart() gives them again.
[[nodiscard]] std::vector<NodeAction> on_pause(Tree& tree, SteadyTime now);
// Time passed, for every node.
[[nodiscard]] std::vector<NodeAction> on_tick(Tree& tree, SteadyTime now);

}  // namespace flops::rounds
