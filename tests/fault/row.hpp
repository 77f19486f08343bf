// Plays one row in this process, from the empty folder to the invariants, and writes <folder>/outcome.json.
#pragma once

#include <cstdint>
#include <filesystem>

#include "outcome.hpp"
#include "scenario.hpp"

namespace flops::faults {

struct RowOptions {
  std::filesystem::path folder;
  std::filesystem::path programs;
  std::filesystem::path reference;  // outcome.json of the undisturbed run; empty: nothing to compare with
  std::uint64_t seed = 1;
  bool sealed = false;
};

[[nodiscard]] Result<Outcome> play_row(const Scenario& scenario, const RowOptions& options);

}  // namespace flops::faults
