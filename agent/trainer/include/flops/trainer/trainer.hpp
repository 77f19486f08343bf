// The agent's view of training: a port, so that the agent's logic is tested without LibTorch.
//
// One job at a time. All calls and callbacks on the loop's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"
#include "flops/trainer/job.hpp"

namespace flops::trainer {

struct JobCallbacks {
  std::function<void(const Progress&)> progress;
  std::function<void(const Evaluation&)> evaluated;
  // A whole checkpoint lies in the job's memory, and stays as it is while this runs. Also after suspend().
  std::function<void(const CheckpointNote&)> checkpointed;
  // Exactly once, last. cancelled after cancel() and suspend(); transient when the process died (killed, out of
  // memory); permanent when the job cannot work (unknown model, missing data).
  std::function<void(Result<JobReport>)> finished;
};

// Descriptors of a job's memory (job.hpp); -1 for one that the job's kind does not use.
struct JobMemory {
  int parameters = -1;
  int result = -1;
  int checkpoint = -1;
  int variates = -1;  // with control variates
  int sum = -1;       // with a part whose sum is asked for
};

class Trainer {
 public:
  virtual ~Trainer() = default;
  // bug when a job runs. The memory's descriptors stay with the caller, who may close them at once. Never calls back
  // before it returns. After success the size of what the worker sized is sealed: `result` of init, `sum`.
  [[nodiscard]] virtual Result<> start(const Job& job, const JobMemory& memory, JobCallbacks callbacks) = 0;
  // Both without effect when idle. suspend() lets the job write a checkpoint first; it may also still end well.
  virtual void cancel() = 0;
  virtual void suspend() = 0;
  [[nodiscard]] virtual bool busy() const = 0;
  // Suspends a job that runs, then ends the worker process, kindly, then by force; `done` when it is gone.
  virtual void stop(std::function<void()> done) = 0;
};

struct ProcessTrainerOptions {
  std::filesystem::path program;       // flops-trainer, or flops-site
  std::vector<std::string> arguments;  // its own, besides those of every worker
  std::chrono::milliseconds warm_for{
      120'000};              // how long an idle worker is kept, so that rounds do not pay LibTorch's load time
  std::int64_t threads = 0;  // compute threads; 0: all cores
  std::int64_t memory_limit_mb = 4096;  // RLIMIT_DATA of the worker; 0: none
  int nice = 10;
  std::chrono::milliseconds suspend_grace{60'000};  // a batch may take long; killed, it would be lost every time
  std::chrono::milliseconds cancel_grace{10'000};   // cancel or stop -> SIGTERM -> (2 s) SIGKILL
  std::filesystem::path control_group;              // that the worker lives in (process::Command)
  bool background = true;                           // only with what other programs leave (process::Command)
};

// Starts flops-trainer as a child when the first job comes, keeps it warm, restarts it when it died. The child ends by
// itself when its socket closes, so it never outlives the agent.
class ProcessTrainer final : public Trainer {
 public:
  ProcessTrainer(boost::asio::any_io_executor loop, ProcessTrainerOptions options);
  ~ProcessTrainer() override;
  [[nodiscard]] Result<> start(const Job& job, const JobMemory& memory, JobCallbacks callbacks) override;
  void cancel() override;
  void suspend() override;
  [[nodiscard]] bool busy() const override;
  void stop(std::function<void()> done) override;

  [[nodiscard]] std::optional<int> worker_pid() const;  // none when no worker runs
  // Peak resident memory of workers so far, in KiB (VmHWM, read at the end of each job).
  [[nodiscard]] std::int64_t peak_kib() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace flops::trainer
