// The worker's loop: jobs come and answers go over the agent's socket, one job at a time.
//
// All in the calling thread. Errors are values; an error of a job goes to the agent and the loop goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"
#include "flops/trainer/job.hpp"

namespace flops::worker {

// How a job in progress reaches the agent.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  // As often as one likes: before every batch, with every block. An error (cancelled) ends the job.
  virtual Result<> progress(std::string_view phase, std::uint64_t done, std::uint64_t total) = 0;
  // For so long, or until the agent says something. An error (cancelled) ends the job.
  virtual Result<> wait(std::chrono::milliseconds time) = 0;
  virtual void evaluated(const trainer::Evaluation& evaluation) = 0;
  virtual void checkpointed(const trainer::CheckpointNote& note) = 0;
  // As of the last progress or wait: the agent does not want the job any more. Not when the agent is gone.
  [[nodiscard]] virtual bool cancelled() const = 0;
  // As of the last progress or wait: the agent wants the job to end for now.
  [[nodiscard]] virtual bool suspended() const = 0;
  // As of the last progress or wait: checkpoints that the agent has not answered.
  [[nodiscard]] virtual int unanswered() const = 0;
};

class Runner {
 public:
  virtual ~Runner() = default;
  // `descriptors`: as many as came, whatever the job's kind needs.
  [[nodiscard]] virtual Result<trainer::JobReport> run(const trainer::Job& job, const std::vector<Fd>& descriptors,
                                                       JobObserver& observer) = 0;
  // Between jobs.
  virtual void prepare() {}
};

struct WorkerOptions {
  int socket = 3;  // SOCK_SEQPACKET, blocking; see flops/trainer/job.hpp
  std::chrono::milliseconds idle{120'000};
};

// Returns when the agent closed its end or no job came for `idle`; an error when the socket is unusable.
[[nodiscard]] Result<> run_worker(const WorkerOptions& options, Runner& runner);

}  // namespace flops::worker
