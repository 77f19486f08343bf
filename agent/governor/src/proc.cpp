#include "proc.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

namespace flops::agent::proc {
namespace {

constexpr std::size_t max_words = 64;

// The words of the first line of `text`, which is moved to the next.
std::vector<std::string_view> next_line(std::string_view& text) {
  std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  std::vector<std::string_view> words;
  constexpr std::string_view blank = " \t";
  while (words.size() < max_words) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(blank)));
    if (line.empty()) {
      break;
    }
    words.push_back(line.substr(0, line.find_first_of(blank)));
    line.remove_prefix(words.back().size());
  }
  return words;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// False when the sum does not fit.
bool add(std::uint64_t& sum, std::uint64_t value) {
  return !__builtin_add_overflow(sum, value, &sum);
}

// It goes into messages for people, and the kernel allows almost any byte in one.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 15 && std::ranges::all_of(name, [](char c) { return c > ' ' && c < '\x7F'; });
}

// The best route seen so far.
struct Best {
  std::optional<std::string> interface;
  std::uint64_t metric = 0;

  void offer(std::string_view name, const std::optional<std::uint64_t>& its_metric) {
    if (is_plain_name(name) && its_metric && (!interface || *its_metric < metric)) {
      interface = name;
      metric = *its_metric;
    }
  }
};

constexpr unsigned route_up = 0x1;
constexpr unsigned route_reject = 0x200;

bool usable(std::string_view flags) {
  const auto bits = number<unsigned>(flags, 16);
  return bits && (*bits & route_up) != 0 && (*bits & route_reject) == 0;
}

}  // namespace

std::optional<CpuTimes> cpu_times(std::string_view stat) {
  const auto words = next_line(stat);
  // cpu user nice system idle iowait irq softirq steal; guest time is part of user.
  if (words.size() < 8 || words[0] != "cpu") {
    return std::nullopt;
  }
  CpuTimes times;
  for (std::size_t i = 1; i < std::min<std::size_t>(words.size(), 9); ++i) {
    const auto ticks = number<std::uint64_t>(words[i], 10);
    // Neither what waits for a disk nor what a hypervisor took is a program of this machine.
    const bool counts = i != 4 && i != 5 && i != 8;
    if (!ticks || !add(times.total, *ticks) || (counts && !add(times.busy, *ticks))) {
      return std::nullopt;
    }
  }
  return times;
}

std::optional<std::uint64_t> process_ticks(std::string_view stat) {
  // The name in parentheses may hold anything, parentheses and line ends too.
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) {
    return std::nullopt;
  }
  stat.remove_prefix(name_end + 1);
  const auto words = next_line(stat);
  std::uint64_t sum = 0;
  for (std::size_t i = 11; i <= 14; ++i) {  // utime, stime, cutime, cstime
    const auto ticks = i < words.size() ? number<std::uint64_t>(words[i], 10) : std::nullopt;
    if (!ticks || !add(sum, *ticks)) {
      return std::nullopt;
    }
  }
  return sum;
}

std::optional<double> memory_pressure(std::string_view pressure) {
  const auto words = next_line(pressure);
  constexpr std::string_view key = "avg10=";
  if (words.size() < 2 || words[0] != "some" || !words[1].starts_with(key)) {
    return std::nullopt;
  }
  const std::string_view text = words[1].substr(key.size());
  double percent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
  const bool good = error == std::errc() && end == text.data() + text.size() && percent >= 0 && percent <= 100;
  return good ? std::optional(percent) : std::nullopt;
}

std::optional<std::string> default_interface(std::string_view route, std::string_view ipv6_route) {
  Best ipv4;
  while (!route.empty()) {
    // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
    const auto words = next_line(route);
    if (words.size() >= 8 && words[1] == "00000000" && words[7] == "00000000" && usable(words[3])) {
      ipv4.offer(words[0], number<std::uint64_t>(words[6], 10));
    }
  }
  if (ipv4.interface) {
    return ipv4.interface;
  }
  Best ipv6;
  while (!ipv6_route.empty()) {
    // Destination, prefix length, source, prefix length, next hop, metric, references, use, flags, device
    const auto words = next_line(ipv6_route);
    if (words.size() >= 10 && words[1] == "00" && words[9] != "lo" && usable(words[8])) {
      ipv6.offer(words[9], number<std::uint64_t>(words[5], 16));
    }
  }
  return ipv6.interface;
}

}  // namespace flops::agent::proc
