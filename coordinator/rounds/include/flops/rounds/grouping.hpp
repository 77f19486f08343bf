// Which cluster a device belongs to. Plain functions; equal arguments give equal answers on every machine.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"

namespace flops::rounds {

struct ClusterTag {
  static constexpr std::string_view name = "cluster";
};
using ClusterId = Id<ClusterTag>;

inline constexpr std::int64_t max_clusters = 1000;

struct Grouping {
  enum class By {
    nothing,  // a flat run
    label,    // the value of the devices' label `label`; devices without it take no part
    hash,     // `count` clusters, "c1" and so on, by a hash of the device's id
    list,     // `members` names every device of every cluster
    sites,    // every cluster has a coordinator of its own, which is one participant here
  };
  By by = By::nothing;
  std::string label;
  std::int64_t count = 0;
  std::map<ClusterId, std::set<DeviceId>> members;

  bool operator==(const Grouping&) const = default;

  // Clusters of this process, whose rounds it makes itself.
  [[nodiscard]] bool inside() const { return by == By::label || by == By::hash || by == By::list; }

  // "label:NAME", "hash:K" or "sites". permanent: anything else, K outside 1 to max_clusters.
  [[nodiscard]] static Result<Grouping> parse(std::string_view text);
  [[nodiscard]] std::string text() const;  // empty for By::nothing and By::list
};

using Labels = std::map<std::string, std::string>;
// Empty: in none. A label whose value is no id is none. A site is the cluster of its name.
[[nodiscard]] ClusterId cluster_of(const Grouping& grouping, const DeviceId& device, const Labels& labels);

}  // namespace flops::rounds
