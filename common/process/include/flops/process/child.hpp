// Child processes on the loop: spawned with chosen descriptors and limits, waited for through a pidfd, stopped by a
// ladder (SIGTERM, wait, SIGKILL). A child gets SIGKILL from the kernel when the thread that spawned it ends
// (PR_SET_PDEATHSIG), so none is left behind when the parent is killed.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"

namespace flops::process {

struct Command {
  std::filesystem::path program;                                 // absolute, or found in PATH
  std::vector<std::string> arguments;                            // without argv[0]
  std::vector<std::pair<std::string, std::string>> environment;  // added to the parent's
  std::vector<std::pair<int, int>> descriptors;  // (ours, the child's number >= 3); all others are closed
  std::filesystem::path log_file;                // stdout and stderr, appended; empty: inherited
  std::filesystem::path output_file;             // of stdout alone, written anew; empty: as log_file says
  int nice = 0;                                  // > 0: nicer
  // Runs, with all threads and children it will have, only when nothing else wants the processor or the disk:
  // SCHED_IDLE, the idle I/O class, and a session of its own whose scheduling group (autogroup) steps back too.
  // Between control groups the kernel goes by their weights: docs/configuration.md.
  bool background = false;
  std::uint64_t data_limit_bytes = 0;   // RLIMIT_DATA; 0: none
  std::uint64_t file_limit_bytes = 0;   // RLIMIT_FSIZE, of each file it writes; 0: none
  std::filesystem::path control_group;  // folder of cgroup v2 that it and its children live in; empty: the parent's
  int oom_score_adj = 0;                // 0 to 1000: the higher, the sooner it is killed when memory is short
};

struct Exit {
  bool signalled = false;
  int code = 0;                                // exit status or signal number
  [[nodiscard]] std::string describe() const;  // "exited with status 3", "was killed by signal 9 (Killed)"
};

class Child {
 public:
  // permanent: program not found or not executable. `exited` is called once, on the loop.
  [[nodiscard]] static Result<std::unique_ptr<Child>> spawn(boost::asio::any_io_executor loop, const Command& command,
                                                            std::function<void(Exit)> exited);
  ~Child();  // SIGKILL and reap if it still runs; `exited` is not called any more
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] int pid() const;
  [[nodiscard]] bool running() const;
  void signal(int number);
  // SIGTERM now, SIGKILL after `grace`.
  void stop(std::chrono::milliseconds grace);

 private:
  struct State;
  explicit Child(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// For programs that may wait: spawns it and waits until it ends; after `patience` it gets SIGKILL, and so do the
// children that it has in its group. Blocking. Errors as of spawn().
[[nodiscard]] Result<Exit> run_to_end(const Command& command, std::chrono::milliseconds patience);

}  // namespace flops::process
