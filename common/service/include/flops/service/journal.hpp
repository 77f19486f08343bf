// Log lines as entries of the journal, with a priority and with the fields of log::Field (sd_journal_send(3)).
#pragma once

#include <string>

namespace flops::service {

// Whether stderr is connected to the journal (JOURNAL_STREAM of systemd.exec(5)).
[[nodiscard]] bool stderr_is_journal();
// From then on lines go there instead of stderr. `program`: SYSLOG_IDENTIFIER. Call once, after log::start().
void log_to_journal(std::string program);

}  // namespace flops::service
