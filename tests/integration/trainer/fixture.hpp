// A ProcessTrainer on a loop, and jobs to give it.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <boost/asio/io_context.hpp>

#include "flops/test/digits.hpp"
#include "flops/test/wait.hpp"
#include "flops/trainer/trainer.hpp"

namespace flops::test {

// The folder of the programs: from ctest, or seen from where this test lies.
inline std::filesystem::path programs() {
  if (const char* chosen = std::getenv("FLOPS_BIN")) {
    return chosen;
  }
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

inline bool process_exists(int pid) {
  return ::kill(pid, 0) == 0 || errno != ESRCH;
}

// The value of a line of /proc/<pid>/status.
inline std::string status_field(int pid, const std::string& name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) {
      return line.substr(line.find_first_not_of(" \t", name.size() + 1));
    }
  }
  return {};
}

inline std::vector<float> floats_of(const Fd& memory) {
  struct stat info{};
  REQUIRE(::fstat(memory.get(), &info) == 0);
  std::vector<float> values(static_cast<std::size_t>(info.st_size) / sizeof(float));
  REQUIRE(::pread(memory.get(), values.data(), values.size() * sizeof(float), 0) == info.st_size);
  return values;
}

inline Fd memory(std::uint64_t bytes) {
  auto made = trainer::make_memfd("test", bytes);
  REQUIRE(made);
  return std::move(*made);
}

// What a job said until it ended.
struct Heard {
  std::vector<trainer::Progress> progress;
  std::vector<trainer::Evaluation> evaluations;
  std::vector<trainer::CheckpointNote> checkpoints;
  std::optional<Result<trainer::JobReport>> end;

  [[nodiscard]] trainer::JobCallbacks callbacks() {
    return {[this](const trainer::Progress& p) { progress.push_back(p); },
            [this](const trainer::Evaluation& e) {
              CHECK_FALSE(end);
              evaluations.push_back(e);
            },
            [this](const trainer::CheckpointNote& note) { checkpoints.push_back(note); },
            [this](Result<trainer::JobReport> result) {
              CHECK_FALSE(end);
              end = std::move(result);
            }};
  }
  [[nodiscard]] ErrorKind error_kind() const {
    REQUIRE(end);
    REQUIRE_FALSE(*end);
    return end->error().kind;
  }
};

class TrainerUnderTest {
 public:
  explicit TrainerUnderTest(const std::filesystem::path& program, trainer::ProcessTrainerOptions options = {}) {
    options.program = program;
    options.threads = 1;
    options.background = false;  // or it would wait for whatever else this machine does
    trainer_.emplace(loop_.get_executor(), options);
  }

  // Long: LibTorch under a sanitizer on a busy machine.
  [[nodiscard]] bool run_until(const std::function<bool()>& condition) {
    return test::run_until(loop_, condition, std::chrono::seconds(90));
  }
  // One job from start to end.
  Heard run(const trainer::Job& job, const Fd& parameters, const Fd& result, const Fd& variates = Fd()) {
    Heard heard;
    const Fd checkpoint = memory(0);
    REQUIRE(
        trainer_->start(job, {parameters.get(), result.get(), checkpoint.get(), variates.get()}, heard.callbacks()));
    REQUIRE(run_until([&] { return heard.end.has_value(); }));
    return heard;
  }
  [[nodiscard]] int pid() const {
    const auto pid = trainer_->worker_pid();
    REQUIRE(pid);
    return *pid;
  }
  trainer::ProcessTrainer* operator->() { return &*trainer_; }
  void destroy() { trainer_.reset(); }

 private:
  boost::asio::io_context loop_;
  std::optional<trainer::ProcessTrainer> trainer_;
};

}  // namespace flops::test
