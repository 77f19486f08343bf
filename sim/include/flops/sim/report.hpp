// A simulation's result as text.
#pragma once

#include <string>

#include "flops/sim/simulation.hpp"

namespace flops::sim {

// One line a round, those of clusters last, with a header; a figure that was not measured is empty.
[[nodiscard]] std::string to_csv(const Summary& summary);
// The same and the summary; a figure that was not measured is null.
[[nodiscard]] std::string to_json(const Project& project, const Summary& summary);
// For people, under a heading.
[[nodiscard]] std::string round_heading();
[[nodiscard]] std::string round_line(const RoundRecord& record);

}  // namespace flops::sim
