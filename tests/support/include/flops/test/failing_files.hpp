// A disk of which some files cannot be read, written, opened or synced while a test says so, for a program as it is: a
// library for LD_PRELOAD that gives the error in the place of libc. Everything else is real. Not for ThreadSanitizer,
// which has to see these calls itself, nor for files that are mapped or opened with fopen.
//
//   FailingFiles disk(library, folder / "disk");
//   ... start the program with disk.environment() ...
//   disk.fail(FailingFiles::read, "updates/objects/", EIO);   // a part of the path
//   ... disk.failures() counts the calls that failed so ...
//   disk.work();
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flops::test {

// What both sides see of it, in a file both have mapped: it outlives the program.
struct FailingFilesState {
  std::atomic<int> operations;          // what fails; 0: everything works
  std::atomic<int> code;                // errno
  std::atomic<std::uint64_t> failures;  // so far
  std::array<char, 1024> part;          // of the path, ends with a zero; written while everything works
};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

inline constexpr const char* failing_files_variable = "FLOPS_FAILING_FILES";

class FailingFiles {
 public:
  // May be joined with |.
  enum Operation : int { read = 1, write = 2, open = 4, sync = 8 };

  // `library`: libfailing_files.so; `file` is made. Ends the process when it cannot be.
  FailingFiles(std::filesystem::path library, std::filesystem::path file);
  ~FailingFiles();
  FailingFiles(const FailingFiles&) = delete;
  FailingFiles& operator=(const FailingFiles&) = delete;

  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment() const;
  // In the place of what failed before.
  void fail(int operations, std::string_view part, int code);
  void work() { state_->operations = 0; }
  [[nodiscard]] std::uint64_t failures() const { return state_->failures; }

 private:
  const std::filesystem::path library_;
  const std::filesystem::path file_;
  FailingFilesState* state_;
};

}  // namespace flops::test
