// The command line of flopsctl: which options there are, and which command they mean.
#pragma once

#include "interruption.hpp"
#include "outcome.hpp"

namespace flops::cli {

// Parses, runs the command, reports a failure on stderr; returns the exit code.
[[nodiscard]] int run_command_line(int argc, char** argv, Interruption& interruption);

}  // namespace flops::cli
