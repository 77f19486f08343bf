#include "flops/service/journal.hpp"

#include <cstdlib>
#include <string_view>

#include <sys/stat.h>
#include <sys/syslog.h>
#include <unistd.h>

#include "datagram.hpp"
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

// The journal's native protocol: lines of NAME=value. Nothing here has a line end in it.
void send(const std::string& program, const log::Line& line) {
  std::string entry = fmt::format("MESSAGE={0}: {1}\nPRIORITY={2}\nSYSLOG_IDENTIFIER={3}\nFLOPS_COMPONENT={0}\n",
                                  line.component, line.text, priority_of(line.level), program);
  for (const auto& [name, value] : line.fields) {
    entry += fmt::format("{}={}\n", name, value);
  }
  if (!send_datagram("/run/systemd/journal/socket", entry)) {
    (void)::dprintf(STDERR_FILENO, "%s\n", std::string(line.text).c_str());  // it is the journal's other way in
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
