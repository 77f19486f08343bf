// The resident agent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "flops/agent_config/config.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/error.hpp"

namespace flops::agent {

// Call first of all in main, before any thread starts.
void prepare_process();

// Where the log goes: to the journal when stderr is connected to it. Call after log::start().
void prepare_log(const Identity& identity);

// SIGHUP: `file` is read again (docs/configuration.md says what takes effect). Runs until SIGTERM or SIGINT, then says
// goodbye to the broker, stops the trainer and returns success. denied: another agent uses the state folder. permanent,
// resource: it cannot start. corrupt: the database was damaged while it ran; the next start sets it aside.
[[nodiscard]] Result<> run_daemon(const Config& config, const Identity& identity, const std::filesystem::path& file);

// The newest time at which the clock was known to be right, as the state folder has it; 0: unknown. Of a damaged
// database too: it changes nothing.
[[nodiscard]] std::int64_t newest_time_seen(const Config& config);

// The agent's last lines in the system's journal, or why there are none: the user needs the right to read it, which the
// agent's own has not.
[[nodiscard]] std::string journal_lines();

// Packs what somebody needs to find out what is wrong into `folder`/flops-diag-<device>-<time>.tar.gz, with the program
// tar: findings of the doctor, status, configuration, enrolment, certificate, `log` (journal_lines()), facts of the
// machine. Never a key, a token, a model, an update, or data. Its path. permanent: the folder cannot be written, or tar
// fails.
[[nodiscard]] Result<std::filesystem::path> pack_diagnosis(const Config& config,
                                                           const std::filesystem::path& config_file,
                                                           const std::filesystem::path& folder, const std::string& log);

// What the state folder says, for people: identity, certificate, tasks, models, data sets, evaluations, what is wrong.
// Works while the agent runs and changes nothing that the agent would not.
[[nodiscard]] Result<std::string> status_text(const Config& config);

}  // namespace flops::agent
