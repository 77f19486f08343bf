// What the devices of a round have done together.
#pragma once

#include <cstdint>
#include <vector>

#include "flops/registry/registry.hpp"

namespace flops::coordinator {

struct RoundWork {
  std::uint64_t samples = 0;
  std::uint64_t steps = 0;  // of the optimiser, the mean weighted by samples; 0: unknown
  double train_loss = 0;    // the mean weighted by samples

  bool operator==(const RoundWork&) const = default;
};

// As that of one participant. Pure.
[[nodiscard]] RoundWork work_of_round(const std::vector<registry::ContributionRow>& contributions);

}  // namespace flops::coordinator
