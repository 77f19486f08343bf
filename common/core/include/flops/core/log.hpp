// Logging: one line an event, to stderr (journald adds time and unit in production).
//
//   log::warn("rounds", "round {} closed with {} of {} updates", round, n, wanted);
//
// The first argument names the component. Any thread may log. Secrets and data never go into a log line.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace flops::log {

enum class Level { trace, debug, info, warn, error };

// `text` as in configuration files; false when it is none of the level names.
[[nodiscard]] bool parse_level(std::string_view text, Level& level);

// Call once, before any thread starts. `name` is the program's.
void start(std::string_view name, Level level);
void set_level(Level level);

// What a line of the log says beside its text: a field of the journal (FLOPS_RUN, FLOPS_ROUND, FLOPS_DEVICE) of all
// lines that this thread writes while the object lives.
class Field {
 public:
  Field(const char* name, std::string value);
  ~Field();
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;
};
using Fields = std::vector<std::pair<const char*, std::string>>;
// The same for all threads, as long as the program runs. Call before any thread starts.
void set_field(const char* name, std::string value);

struct Line {
  Level level = Level::info;
  std::string_view component;
  std::string_view text;  // one line
  Fields fields;          // of the program, then of the thread
};
// From then on lines go there instead of to stderr. Call before any thread starts; it is called from all of them.
void write_to(std::function<void(const Line&)> output);

// From then on the newest lines are kept in memory too: `lines` of them.
void keep(std::size_t lines);
[[nodiscard]] std::vector<std::string> kept();  // the oldest first, without line ends
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
