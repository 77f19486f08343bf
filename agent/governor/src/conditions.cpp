#include "flops/agent_governor/conditions.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace flops::agent {
namespace {

constexpr std::size_t max_window_text = 64;
constexpr std::size_t max_interface_name = 15;  // IFNAMSIZ without its zero
constexpr int days_a_week = 7;
constexpr std::array<std::string_view, days_a_week> day_names = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "06:30" in minutes; "24:00" too.
std::optional<int> parse_time(std::string_view text) {
  if (text.size() != 5 || text[2] != ':' || !is_digit(text[0]) || !is_digit(text[1]) || !is_digit(text[3]) ||
      !is_digit(text[4])) {
    return std::nullopt;
  }
  const int hours = (text[0] - '0') * 10 + (text[1] - '0');
  const int minutes = (text[3] - '0') * 10 + (text[4] - '0');
  const int time = hours * 60 + minutes;
  return minutes < 60 && time <= minutes_a_day ? std::optional(time) : std::nullopt;
}

std::optional<int> parse_day(std::string_view text) {
  const auto* const day = std::ranges::find(day_names, text);
  return day == day_names.end() ? std::nullopt : std::optional(static_cast<int>(day - day_names.begin()));
}

// "sat,sun", "mon-fri", "fri-mon".
std::optional<unsigned> parse_days(std::string_view text) {
  unsigned days = 0;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t dash = part.find('-');
    const auto first = parse_day(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_day(part.substr(dash + 1));
    if (!first || !last) {
      return std::nullopt;
    }
    for (int day = *first;; day = (day + 1) % days_a_week) {
      days |= 1U << static_cast<unsigned>(day);
      if (day == *last) {
        break;
      }
    }
    if (comma == std::string_view::npos) {
      return days;
    }
    text.remove_prefix(comma + 1);
  }
}

bool begins_on(const TimeWindow& window, int weekday) {
  return (window.days >> static_cast<unsigned>(weekday) & 1U) != 0;
}

}  // namespace

Result<TimeWindow> parse_time_window(std::string_view text) {
  const std::string_view shown = text.substr(0, max_window_text);
  TimeWindow window;
  std::string_view times = text;
  if (const std::size_t space = text.find(' '); space != std::string_view::npos) {
    const auto days = parse_days(text.substr(0, space));
    if (!days) {
      return fail(ErrorKind::permanent,
                  "'{}': days are mon, tue, wed, thu, fri, sat, sun, as in \"mon-fri\" or \"sat,sun\"", shown);
    }
    window.days = *days;
    times = text.substr(space + 1);
  }
  const std::size_t dash = times.find('-');
  const auto from = parse_time(times.substr(0, dash));
  const auto to = dash == std::string_view::npos ? std::nullopt : parse_time(times.substr(dash + 1));
  if (!from || !to) {
    return fail(ErrorKind::permanent, R"('{}' is not a time window such as "22:00-06:00" or "sat,sun 00:00-24:00")",
                shown);
  }
  if (*from == minutes_a_day || *to == 0 || *from == *to) {
    return fail(ErrorKind::permanent,
                "'{}': begins before 24:00, ends after 00:00 and at another time; a whole day is 00:00-24:00", shown);
  }
  window.from = *from;
  window.to = *to;
  return window;
}

std::string to_text(const TimeWindow& window) {
  std::string days;
  for (int day = 0; day < days_a_week; ++day) {
    if (begins_on(window, day)) {
      days += fmt::format("{}{}", days.empty() ? "" : ",", day_names[static_cast<std::size_t>(day)]);
    }
  }
  return fmt::format("{}{:02}:{:02}-{:02}:{:02}", window.days == TimeWindow{}.days ? "" : days + " ", window.from / 60,
                     window.from % 60, window.to / 60, window.to % 60);
}

bool contains(const TimeWindow& window, int weekday, int minute) {
  const bool today = begins_on(window, weekday) && minute >= window.from;
  if (window.to > window.from) {
    return today && minute < window.to;
  }
  const int yesterday = (weekday + days_a_week - 1) % days_a_week;
  return today || (begins_on(window, yesterday) && minute < window.to);
}

std::string problem_with_interface(std::string_view pattern) {
  const std::string_view name = pattern.substr(0, pattern.find('*'));
  const bool star = name.size() < pattern.size();
  const bool printable =
      std::ranges::all_of(name, [](char c) { return c > ' ' && c < '\x7F' && c != '/' && c != ':' && c != '"'; });
  if (pattern.empty() || !printable || name.size() > max_interface_name ||
      (star && name.size() + 1 != pattern.size())) {
    return fmt::format(
        "'{}' is not the name of an interface, such as \"wwan0\", or the beginning of one and *, such as \"ppp*\"",
        pattern.substr(0, max_interface_name));
  }
  return {};
}

bool matches_interface(std::string_view pattern, std::string_view name) {
  return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
}

}  // namespace flops::agent
