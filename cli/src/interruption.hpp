// Ctrl-C and SIGTERM: a thread waits for them, removes what is half written and ends the process. The commands
// themselves block in network calls and need not know.
#pragma once

#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "flops/core/fd.hpp"

namespace flops::cli {

class Interruption {
 public:
  // Call before any other thread starts: threads inherit the blocked signals.
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // A folder beside `target` for unfinished work; removed with its content by drop_scratch() and on interruption. Empty
  // when it cannot be made.
  [[nodiscard]] std::filesystem::path make_scratch(const std::filesystem::path& target);
  void drop_scratch(const std::filesystem::path& folder);

 private:
  void watch();

  Fd signals_;
  Fd stop_;
  std::mutex mutex_;
  std::set<std::filesystem::path> scratch_;
  std::thread thread_;
};

}  // namespace flops::cli
