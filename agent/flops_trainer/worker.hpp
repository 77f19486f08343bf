// The worker's loop: jobs come and answers go over the agent's socket, one job at a time.
#pragma once

#include <chrono>

#include "flops/core/error.hpp"

namespace flops {

struct WorkerOptions {
  int socket = 3;  // SOCK_SEQPACKET, blocking; see flops/trainer/job.hpp
  std::chrono::milliseconds idle{120'000};
};

// Returns when the agent closed its end or no job came for `idle`; an error when the socket is unusable.
[[nodiscard]] Result<> run_worker(const WorkerOptions& options);

}  // namespace flops
