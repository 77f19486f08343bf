// Under which conditions a device trains: what its owner configured ([conditions], docs/configuration.md). With the
// defaults nothing stops an ordinary machine that is cool, has memory left and is plugged in.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::agent {

inline constexpr int minutes_a_day = 24 * 60;

// A part of the day, of some or all days of the week, in the device's local time.
struct TimeWindow {
  unsigned days = 0x7F;  // on which it begins; bit 0: Monday
  int from = 0;          // minutes after midnight, below minutes_a_day
  int to = 0;            // exclusive, 1 to minutes_a_day; not above `from`: on the day after

  bool operator==(const TimeWindow&) const = default;
};

// "22:00-06:00", "mon-fri 18:30-24:00", "sat,sun 00:00-24:00". permanent: what is wrong with it.
[[nodiscard]] Result<TimeWindow> parse_time_window(std::string_view text);
// As parse_time_window() takes it.
[[nodiscard]] std::string to_text(const TimeWindow& window);

// `weekday` 0: Monday; `minute` of the day.
[[nodiscard]] bool contains(const TimeWindow& window, int weekday, int minute);

// What is wrong with the name of an interface as in Conditions::metered_interfaces; empty: nothing.
[[nodiscard]] std::string problem_with_interface(std::string_view pattern);
// `pattern` is a name, or the beginning of one and '*'.
[[nodiscard]] bool matches_interface(std::string_view pattern, std::string_view name);

// Percentages are of 0 to 100.
struct Conditions {
  std::int64_t max_temperature = 80;      // degrees Celsius of the hottest zone; 0: any
  std::int64_t max_other_load = 100;      // percent of all processors together that other programs use; 100: any
  std::int64_t max_memory_pressure = 20;  // percent of the time in which a program waited for memory; 100: any
  std::int64_t min_battery = 50;          // percent, when not on mains; 0: any; 100: only on mains
  bool pause_when_metered = false;        // when the default route leads over one of metered_interfaces
  std::vector<std::string> metered_interfaces = {"wwan*", "ppp*"};
  std::vector<TimeWindow> time_windows;       // none: always
  std::chrono::milliseconds resume_after{0};  // so long all conditions hold before a paused device goes on

  bool operator==(const Conditions&) const = default;
};

}  // namespace flops::agent
