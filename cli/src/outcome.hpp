// How a command ends: its exit code, and for a failure the message a person gets on stderr.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "flops/core/error.hpp"

namespace flops::cli {

// docs/cli.md lists these; scripts rely on them.
enum ExitCode : int {
  exit_ok = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_not_found = 3,
  exit_denied = 4,
  exit_unreachable = 5,
  exit_run_failed = 6,  // the run that was watched failed or was stopped
  exit_configuration = 78,
  exit_interrupted = 130,
  exit_terminated = 143,
};

struct Failure {
  ExitCode code = exit_failed;
  std::string message;
};

template <class T = ExitCode>
using Outcome = std::expected<T, Failure>;

template <class... Args>
[[nodiscard]] std::unexpected<Failure> give_up(ExitCode code, fmt::format_string<Args...> text, Args&&... args) {
  return std::unexpected(Failure{code, fmt::format(text, std::forward<Args>(args)...)});
}
[[nodiscard]] inline std::unexpected<Failure> give_up(Failure failure) {
  return std::unexpected(std::move(failure));
}

}  // namespace flops::cli
