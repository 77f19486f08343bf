// Temperature and power from sysfs. `sys` is where it is mounted. Whatever cannot be read, or is nonsense, is unknown.
// Any thread; a slow driver makes the caller wait.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace flops::agent {

// Of the hottest thermal zone, whole degrees Celsius.
[[nodiscard]] std::optional<double> hottest_zone(const std::filesystem::path& sys);

struct Power {
  std::optional<std::int64_t> battery_percent;  // of the fullest battery
  std::optional<bool> on_mains;                 // unknown without a battery, and when nothing says it

  bool operator==(const Power&) const = default;
};
// Batteries of attached things (mice, headsets) do not count.
[[nodiscard]] Power read_power(const std::filesystem::path& sys);

}  // namespace flops::agent
