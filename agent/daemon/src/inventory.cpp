#include "flops/agent_daemon/inventory.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "flops/agent_governor/sensors.hpp"
#include "flops/core/file.hpp"

namespace flops::agent {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_text = 128;
constexpr std::size_t largest_file = 16384;

// Device tree files end with a zero byte.
std::string first_line(const fs::path& file) {
  auto content = read_file(file, largest_file);
  if (!content) {
    return {};
  }
  std::string line = content->substr(0, content->find_first_of(std::string_view("\n\0", 2)));
  line.erase(line.find_last_not_of(' ') + 1);
  std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return line.substr(0, longest_text);
}

std::string model_of(const fs::path& root) {
  if (std::string model = first_line(root / "proc/device-tree/model"); !model.empty()) {
    return model;
  }
  const fs::path dmi = root / "sys/class/dmi/id";
  const std::string vendor = first_line(dmi / "sys_vendor");
  const std::string product = first_line(dmi / "product_name");
  return (vendor + (vendor.empty() || product.empty() ? "" : " ") + product).substr(0, longest_text);
}

std::string system_of(const fs::path& root) {
  constexpr std::string_view name = "PRETTY_NAME=";
  const std::string content = read_file(root / "etc/os-release", largest_file).value_or("");
  const auto begin = content.starts_with(name) ? 0 : content.find("\n" + std::string(name));
  if (begin == std::string::npos) {
    return {};
  }
  std::string value = content.substr(content.find('=', begin) + 1);
  value = value.substr(0, value.find('\n'));
  std::erase(value, '"');
  std::ranges::replace_if(value, [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return value.substr(0, longest_text);
}

std::string accelerator_of(const fs::path& root) {
  std::error_code error;
  for (const auto& [file, name] : {std::pair("dev/nvhost-gpu", "NVIDIA Tegra"),
                                   std::pair("dev/nvgpu/igpu0", "NVIDIA Tegra"), std::pair("dev/nvidia0", "NVIDIA"),
                                   std::pair("dev/apex_0", "Coral Edge TPU"), std::pair("dev/hailo0", "Hailo")}) {
    if (fs::exists(root / file, error)) {
      return name;
    }
  }
  return {};
}

// The firmware's word (bit 0: now), or the alarm of its voltage sensor.
bool has_undervoltage(const fs::path& sys) {
  const std::string word = first_line(sys / "devices/platform/soc/soc:firmware/get_throttled");
  unsigned flags = 0;
  const std::size_t digits = word.starts_with("0x") ? 2 : 0;
  if (!word.empty() && std::from_chars(word.data() + digits, word.data() + word.size(), flags, 16).ec == std::errc()) {
    return (flags & 1U) != 0;
  }
  std::error_code error;
  int left = 64;
  for (fs::directory_iterator it(sys / "class/hwmon", error), end; !error && it != end && left-- > 0;
       it.increment(error)) {
    if (first_line(it->path() / "name") == "rpi_volt") {
      return first_line(it->path() / "in0_lcrit_alarm") == "1";
    }
  }
  return false;
}

}  // namespace

Machine machine(const std::filesystem::path& root) {
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
  found.model = model_of(root);
  found.system = system_of(root);
  found.accelerator = accelerator_of(root);
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
  sensors.undervoltage = has_undervoltage(sys);
  return sensors;
}

}  // namespace flops::agent
