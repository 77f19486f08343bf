// Plays rows, each in a process of its own with namespaces of its own where the system allows it: everything a row
// starts, mounts or configures ends with that process, however it ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "scenario.hpp"

namespace flops::faults {

struct ScheduleOptions {
  std::filesystem::path folder;
  std::filesystem::path programs;
  std::uint64_t seed = 1;
  int minutes = 0;  // 0: every row once
  int jobs = 2;
};

// Prints a line a row and the table at the end. False when a row failed; its folder is kept then.
[[nodiscard]] Result<bool> play_all(const std::vector<Scenario>& rows, const std::vector<Scenario>& references,
                                    const ScheduleOptions& options);

}  // namespace flops::faults
