// When a run ends before its last round: a target is reached, or nothing gets better any more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flops::rounds {

struct Goal {
  double accuracy = 0;            // at least; 0: no target
  double loss = 0;                // at most; 0: no target
  std::int64_t patience = 0;      // measured models without a better one; 0: for ever
  double min_change = 0;          // by how much a better model is better at least
  std::int64_t min_evaluate = 1;  // devices that have measured a model, or its measurement does not count

  [[nodiscard]] bool empty() const { return accuracy <= 0 && loss <= 0 && patience == 0; }
  bool operator==(const Goal&) const = default;
};

// What the devices together measured of the model that `round` made.
struct Measured {
  std::int64_t round = 0;
  double accuracy = 0;
  double loss = 0;
  std::int64_t devices = 0;
};

// Why the run can end; empty: it goes on. `history` has the rounds in order, of which those with a figure that is no
// number do not count; `metric` (accuracy, loss) is the one that patience goes by.
[[nodiscard]] std::string reached(const Goal& goal, std::string_view metric, const std::vector<Measured>& history);

}  // namespace flops::rounds
