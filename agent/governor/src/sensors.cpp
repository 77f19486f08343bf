#include "flops/agent_governor/sensors.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "flops/core/file.hpp"

namespace flops::agent {
namespace {

// More of them than any machine has; a folder that goes on for ever must not keep us.
constexpr int max_entries = 256;

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
  int left = max_entries;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end && left-- > 0;
       it.increment(error)) {
    visit(it->path());
  }
}

// What one entry of power_supply says about where the power comes from.
struct Supplies {
  bool battery = false;
  bool charger = false;
  bool charger_online = false;
  bool discharging = false;
  bool charging = false;  // or full
};

void visit_battery(const std::filesystem::path& supply, Supplies& found, Power& power) {
  if (read_line(supply / "scope") == "Device" || read_integer(supply / "present") == 0) {
    return;
  }
  found.battery = true;
  const auto capacity = read_integer(supply / "capacity");
  if (capacity && *capacity >= 0 && *capacity <= 100) {
    power.battery_percent = std::max(power.battery_percent.value_or(0), *capacity);
  }
  const auto status = read_line(supply / "status");
  found.discharging |= status == "Discharging";
  found.charging |= status == "Charging" || status == "Full" || status == "Not charging";
}

void visit_charger(const std::filesystem::path& supply, Supplies& found) {
  const auto online = read_integer(supply / "online");
  found.charger |= online.has_value();
  found.charger_online |= online.value_or(0) > 0;
}

}  // namespace

std::optional<double> hottest_zone(const std::filesystem::path& sys) {
  std::optional<double> celsius;
  each_entry(sys / "class/thermal", [&](const std::filesystem::path& zone) {
    if (zone.filename().string().starts_with("thermal_zone")) {
      const auto millidegrees = read_integer(zone / "temp");
      // Broken sensors report absolute zero or a furnace.
      if (millidegrees && *millidegrees > -60'000 && *millidegrees < 200'000) {
        celsius = std::max(celsius.value_or(-60), std::round(static_cast<double>(*millidegrees) / 1000));
      }
    }
  });
  return celsius;
}

Power read_power(const std::filesystem::path& sys) {
  Power power;
  Supplies found;
  each_entry(sys / "class/power_supply", [&](const std::filesystem::path& supply) {
    const std::string type = read_line(supply / "type").value_or("");
    if (type == "Battery") {
      visit_battery(supply, found, power);
    } else if (type == "Mains" || type.starts_with("USB") || type == "Wireless") {
      visit_charger(supply, found);
    }
  });
  // The charger knows best; a battery alone says whether it gives or takes.
  if (found.battery && (found.charger || found.discharging || found.charging)) {
    power.on_mains = found.charger ? found.charger_online : !found.discharging;
  }
  return power;
}

}  // namespace flops::agent
