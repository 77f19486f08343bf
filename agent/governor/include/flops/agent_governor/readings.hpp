// What the probes measured at one moment. Whatever could not be measured is unknown, and stops nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace flops::agent {

// Processor time since the machine started, summed over all processors, in ticks of the kernel (USER_HZ).
struct CpuTimes {
  std::uint64_t total = 0;
  std::uint64_t busy = 0;
  std::uint64_t own = 0;  // of our own processes, and of their children that have ended

  bool operator==(const CpuTimes&) const = default;
};

struct Readings {
  std::optional<double> temperature;  // hottest zone, whole degrees Celsius
  std::optional<CpuTimes> cpu;
  std::optional<double> memory_pressure;        // percent: PSI, memory, some, avg10
  std::optional<std::int64_t> battery_percent;  // none: no battery, or it does not say
  std::optional<bool> on_mains;                 // only of machines with a battery
  std::optional<std::string> interface;         // of the default route; none: no route

  bool operator==(const Readings&) const = default;
};

}  // namespace flops::agent
