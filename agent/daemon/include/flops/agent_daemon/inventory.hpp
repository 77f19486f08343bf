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
  std::string model;        // "Raspberry Pi 4 Model B Rev 1.4"; at most 128 bytes; empty: not known
  std::string system;       // "Debian GNU/Linux 12 (bookworm)"
  std::string accelerator;  // "NVIDIA Tegra", "Coral Edge TPU"; empty: none that is known
};
// `root` has the machine's etc, proc, sys and dev.
[[nodiscard]] Machine machine(const std::filesystem::path& root = "/");

// Rounded, so that a value that only trembles is not news.
struct Sensors {
  double load = 0;                    // 1 minute, one decimal
  double temperature = 0;             // hottest zone, whole degrees Celsius; 0: unknown
  std::int64_t battery_percent = -1;  // -1: none
  bool undervoltage = false;          // now, by the firmware of a Raspberry Pi

  bool operator==(const Sensors&) const = default;
};
// `sys` is where sysfs is mounted. Whatever cannot be read is unknown.
[[nodiscard]] Sensors read_sensors(const std::filesystem::path& sys = "/sys");

}  // namespace flops::agent
