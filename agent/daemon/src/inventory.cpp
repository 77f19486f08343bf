#include "flops/agent_daemon/inventory.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "flops/agent_governor/sensors.hpp"

namespace flops::agent {

Machine machine() {
  Machine found;
  utsname names{};
  found.architecture = ::uname(&names) == 0 ? names.machine : "unknown";
  found.architecture.resize(std::min<std::size_t>(found.architecture.size(), 32));
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    found.cores = std::clamp(CPU_COUNT(&set), 1, 4096);
  }
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) {
    found.memory_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  }
  return found;
}

Sensors read_sensors(const std::filesystem::path& sys) {
  Sensors sensors;
  double load = 0;
  if (::getloadavg(&load, 1) == 1) {
    sensors.load = std::round(load * 10) / 10;
  }
  sensors.temperature = hottest_zone(sys).value_or(0);
  sensors.battery_percent = read_power(sys).battery_percent.value_or(-1);
  return sensors;
}

}  // namespace flops::agent
