// Logging: one line an event, to stderr (journald adds time and unit in production).
//
//   log::warn("rounds", "round {} closed with {} of {} updates", round, n, wanted);
//
// The first argument names the component. Any thread may log. Secrets and data never go into a log line.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace flops::log {

enum class Level { trace, debug, info, warn, error };

// `text` as in configuration files; false when it is none of the level names.
[[nodiscard]] bool parse_level(std::string_view text, Level& level);

// Call once, before any thread starts. `name` is the program's.
void start(std::string_view name, Level level);
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view component, std::string_view text);

template <class... Args>
void emit(Level level, std::string_view component, fmt::format_string<Args...> text, Args&&... args) {
  if (enabled(level)) {
    write(level, component, fmt::format(text, std::forward<Args>(args)...));
  }
}
template <class... Args>
void debug(std::string_view component, fmt::format_string<Args...> text, Args&&... args) {
  emit(Level::debug, component, text, std::forward<Args>(args)...);
}
template <class... Args>
void info(std::string_view component, fmt::format_string<Args...> text, Args&&... args) {
  emit(Level::info, component, text, std::forward<Args>(args)...);
}
template <class... Args>
void warn(std::string_view component, fmt::format_string<Args...> text, Args&&... args) {
  emit(Level::warn, component, text, std::forward<Args>(args)...);
}
template <class... Args>
void error(std::string_view component, fmt::format_string<Args...> text, Args&&... args) {
  emit(Level::error, component, text, std::forward<Args>(args)...);
}

}  // namespace flops::log
