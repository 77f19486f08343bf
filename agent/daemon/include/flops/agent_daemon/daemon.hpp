// The resident agent.
#pragma once

#include <string>

#include "flops/agent_config/config.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/core/error.hpp"

namespace flops::agent {

// Call first of all in main, before any thread starts.
void prepare_process();

// Runs until SIGTERM or SIGINT, then says goodbye to the broker, stops the trainer and returns success.
// denied: another agent uses the state folder. permanent, resource: it cannot start. corrupt: the database was damaged
// while it ran; the next start sets it aside.
[[nodiscard]] Result<> run_daemon(const Config& config, const Identity& identity);

// What the state folder says, for people: identity, certificate, tasks, models, data sets, evaluations, what is wrong.
// Works while the agent runs and changes nothing that the agent would not.
[[nodiscard]] Result<std::string> status_text(const Config& config);

}  // namespace flops::agent
