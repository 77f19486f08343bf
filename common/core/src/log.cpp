#include "flops/core/log.hpp"

#include <memory>
#include <string>

#include <spdlog/sinks/ringbuffer_sink.h>
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

constexpr const char* pattern = "%Y-%m-%dT%H:%M:%S.%e %n %l %v";

std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt>& kept_lines() {
  static std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> sink;
  return sink;
}

std::function<void(const Line&)>& output() {
  static std::function<void(const Line&)> chosen;
  return chosen;
}

Fields& fields_of_program() {
  static Fields fields;
  return fields;
}

Fields& fields_of_thread() {
  thread_local Fields fields;
  return fields;
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
  logger->set_pattern(pattern);
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

Field::Field(const char* name, std::string value) {
  fields_of_thread().emplace_back(name, std::move(value));
}

Field::~Field() {
  fields_of_thread().pop_back();
}

void set_field(const char* name, std::string value) {
  fields_of_program().emplace_back(name, std::move(value));
}

void write_to(std::function<void(const Line&)> chosen) {
  output() = std::move(chosen);
  auto& sinks = spdlog::default_logger_raw()->sinks();
  std::erase_if(sinks, [](const spdlog::sink_ptr& sink) { return sink != kept_lines(); });
}

void keep(std::size_t lines) {
  kept_lines() = std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(lines);
  kept_lines()->set_pattern(pattern);
  spdlog::default_logger_raw()->sinks().push_back(kept_lines());
}

std::vector<std::string> kept() {
  if (!kept_lines()) {
    return {};
  }
  std::vector<std::string> lines = kept_lines()->last_formatted();
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of('\n') + 1);
  }
  return lines;
}

void set_level(Level level) {
  spdlog::default_logger_raw()->set_level(to_spdlog(level));
}

bool enabled(Level level) {
  return spdlog::default_logger_raw()->should_log(to_spdlog(level));
}

void write(Level level, std::string_view component, std::string_view text) {
  const std::string clean = one_line(text);
  spdlog::default_logger_raw()->log(to_spdlog(level), "{}: {}", component, clean);
  if (output()) {
    Fields fields = fields_of_program();
    fields.insert(fields.end(), fields_of_thread().begin(), fields_of_thread().end());
    output()({level, component, clean, std::move(fields)});
  }
}

}  // namespace flops::log
