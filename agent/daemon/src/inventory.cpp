#include "flops/agent_daemon/inventory.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "flops/core/file.hpp"

namespace flops::agent {
namespace {

std::optional<std::string> read_line(const std::filesystem::path& file) {
  auto text = read_file(file, 4096);
  if (!text) {
    return std::nullopt;
  }
  return text->substr(0, text->find('\n'));
}

std::optional<std::int64_t> read_integer(const std::filesystem::path& file) {
  const auto text = read_line(file);
  std::int64_t value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) {
    return std::nullopt;
  }
  return value;
}

template <class Visit>
void each_entry(const std::filesystem::path& folder, const Visit& visit) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    visit(it->path());
  }
}

double hottest(const std::filesystem::path& sys) {
  double celsius = 0;
  each_entry(sys / "class/thermal", [&](const std::filesystem::path& zone) {
    if (zone.filename().string().starts_with("thermal_zone")) {
      const auto millidegrees = read_integer(zone / "temp");
      // Broken sensors report absolute zero or a furnace.
      if (millidegrees && *millidegrees > -60'000 && *millidegrees < 200'000) {
        celsius = std::max(celsius, std::round(static_cast<double>(*millidegrees) / 1000));
      }
    }
  });
  return celsius;
}

std::int64_t battery(const std::filesystem::path& sys) {
  std::int64_t percent = -1;
  each_entry(sys / "class/power_supply", [&](const std::filesystem::path& supply) {
    if (read_line(supply / "type") == "Battery") {
      const auto capacity = read_integer(supply / "capacity");
      if (capacity && *capacity >= 0 && *capacity <= 100) {
        percent = std::max(percent, *capacity);
      }
    }
  });
  return percent;
}

}  // namespace

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
  sensors.temperature = hottest(sys);
  sensors.battery_percent = battery(sys);
  return sensors;
}

}  // namespace flops::agent
