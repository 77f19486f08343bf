// What the device is and how it does: from the kernel, without privileges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace flops::agent {

struct Machine {
  std::string architecture;  // "x86_64", "aarch64"
  std::int64_t cores = 1;    // this process may use
  std::uint64_t memory_bytes = 0;
};
[[nodiscard]] Machine machine();

// Rounded, so that a value that only trembles is not news.
struct Sensors {
  double load = 0;                    // 1 minute, one decimal
  double temperature = 0;             // hottest zone, whole degrees Celsius; 0: unknown
  std::int64_t battery_percent = -1;  // -1: none

  bool operator==(const Sensors&) const = default;
};
// `sys` is where sysfs is mounted. Whatever cannot be read is unknown.
[[nodiscard]] Sensors read_sensors(const std::filesystem::path& sys = "/sys");

}  // namespace flops::agent
