#include "flops/agent_governor/probes.hpp"

#include <string>

#include "flops/agent_governor/sensors.hpp"
#include "flops/core/file.hpp"
#include "proc.hpp"

namespace flops::agent {
namespace {

// Empty when it cannot be read, which is no content of any of them.
std::string text_of(const std::filesystem::path& file) {
  return read_file(file).value_or("");
}

}  // namespace

Readings SystemProbes::read(std::span<const int> own) {
  const std::filesystem::path proc_folder = root_ / "proc";
  Readings readings;
  readings.cpu = proc::cpu_times(text_of(proc_folder / "stat"));
  if (readings.cpu) {
    for (const int pid : own) {
      readings.cpu->own += proc::process_ticks(text_of(proc_folder / std::to_string(pid) / "stat")).value_or(0);
    }
  }
  readings.memory_pressure = proc::memory_pressure(text_of(proc_folder / "pressure/memory"));
  readings.interface =
      proc::default_interface(text_of(proc_folder / "net/route"), text_of(proc_folder / "net/ipv6_route"));
  readings.temperature = hottest_zone(root_ / "sys");
  const Power power = read_power(root_ / "sys");
  readings.battery_percent = power.battery_percent;
  readings.on_mains = power.on_mains;
  return readings;
}

}  // namespace flops::agent
