#include "flops/service/journal.hpp"

#include <cstdlib>
#include <string_view>
#include <vector>

#include <sys/stat.h>
#include <sys/syslog.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "flops/core/log.hpp"

namespace flops::service {
namespace {

int priority_of(log::Level level) {
  switch (level) {
    case log::Level::trace:
    case log::Level::debug: return LOG_DEBUG;
    case log::Level::info: return LOG_INFO;
    case log::Level::warn: return LOG_WARNING;
    case log::Level::error: return LOG_ERR;
  }
  return LOG_INFO;
}

void send(const std::string& program, const log::Line& line) {
  std::vector<std::string> entries;
  constexpr std::size_t of_every_line = 4;
  entries.reserve(of_every_line + line.fields.size());
  entries = {fmt::format("MESSAGE={}: {}", line.component, line.text),
             fmt::format("PRIORITY={}", priority_of(line.level)), fmt::format("SYSLOG_IDENTIFIER={}", program),
             fmt::format("FLOPS_COMPONENT={}", line.component)};
  for (const auto& [name, value] : line.fields) {
    entries.push_back(fmt::format("{}={}", name, value));
  }
  std::vector<iovec> parts;
  parts.reserve(entries.size());
  for (std::string& entry : entries) {
    parts.push_back({entry.data(), entry.size()});
  }
  if (::sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) < 0) {
    (void)::dprintf(STDERR_FILENO, "%s\n", entries.front().c_str());  // it is the journal's other way in
  }
}

}  // namespace

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat found{};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &found) != 0) {
    return false;
  }
  return std::string_view(stream) == fmt::format("{}:{}", found.st_dev, found.st_ino);
}

void log_to_journal(std::string program) {
  log::write_to([program = std::move(program)](const log::Line& line) { send(program, line); });
}

}  // namespace flops::service
