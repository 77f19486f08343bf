// What a cluster does, for people: as the state topic and the API tell it.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "flops/rounds/tree.hpp"

namespace flops::coordinator {

struct ClusterView {
  // initialising | fitting | aggregating | evaluating | handing_up | handed_up | skipped | waiting | failed; or how the
  // run ended. A site is fitting until it has handed up: what it does meanwhile its own coordinator says.
  std::string state;
  std::string reason;             // why it waits, is skipped, or failed
  std::int64_t round = 0;         // counted through all cycles; 0: none yet
  std::int64_t participants = 0;  // devices with a task, or one that they have done; of a site 0: not told

  bool operator==(const ClusterView&) const = default;
};

// Pure.
[[nodiscard]] ClusterView cluster_view(const rounds::Tree& tree, const rounds::ClusterId& cluster);
// Those that the run knows now.
[[nodiscard]] std::set<rounds::ClusterId> clusters_in(const rounds::Tree& tree);

}  // namespace flops::coordinator
