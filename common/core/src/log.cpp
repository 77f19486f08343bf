#include "flops/core/log.hpp"

#include <memory>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace flops::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::trace: return spdlog::level::trace;
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Control characters in text that came from outside must not forge log lines.
std::string one_line(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      c = ' ';
    }
  }
  return clean;
}

}  // namespace

bool parse_level(std::string_view text, Level& level) {
  for (const auto& [name, value] :
       {std::pair{"trace", Level::trace}, std::pair{"debug", Level::debug}, std::pair{"info", Level::info},
        std::pair{"warn", Level::warn}, std::pair{"error", Level::error}}) {
    if (text == name) {
      level = value;
      return true;
    }
  }
  return false;
}

void start(std::string_view name, Level level) {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>(std::string(name), std::move(sink));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %l %v");
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void set_level(Level level) {
  spdlog::default_logger_raw()->set_level(to_spdlog(level));
}

bool enabled(Level level) {
  return spdlog::default_logger_raw()->should_log(to_spdlog(level));
}

void write(Level level, std::string_view component, std::string_view text) {
  spdlog::default_logger_raw()->log(to_spdlog(level), "{}: {}", component, one_line(text));
}

}  // namespace flops::log
