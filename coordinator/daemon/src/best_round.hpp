// Which of a run's models is the best one by its metric.
#pragma once

#include <string_view>
#include <vector>

#include "flops/registry/registry.hpp"

namespace flops::coordinator {

// Of the rounds of the run itself (in a run with clusters its cycles) whose measurement is over, the one with the
// highest accuracy or, with `metric` "loss", the lowest loss; of equals the first. nullptr: none is measured.
[[nodiscard]] const registry::RoundRow* best_round(const std::vector<registry::RoundRow>& rounds,
                                                   std::string_view metric);
[[nodiscard]] double value_of(const registry::RoundRow& round, std::string_view metric);

}  // namespace flops::coordinator
