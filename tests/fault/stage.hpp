// Where one row is played: its folder, its loop, the logs of its programs, and what went wrong so far.
//
//   <folder>/logs/       what the programs print
//   <folder>/data/       the devices' data sets
//   <folder>/coordinator, device-1, ...   state folders
//   <folder>/outside/    working folder, HOME and TMPDIR of the programs: nothing may appear there
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include <boost/asio/io_context.hpp>

#include "log_watch.hpp"
#include "outcome.hpp"

namespace flops::faults {

// A healthy step takes seconds; a loaded machine may take ten times as long.
inline constexpr std::chrono::seconds patience{120};

class Stage {
 public:
  // `sealed`: this process has namespaces of its own for mounts, processes and network.
  [[nodiscard]] static Result<std::unique_ptr<Stage>> set(std::filesystem::path folder, std::filesystem::path programs,
                                                          std::uint64_t seed, bool sealed);

  // Runs the loop until the condition holds; transient when the deadline passes first.
  [[nodiscard]] Result<> until(const std::string& what, const std::function<bool()>& condition,
                               std::chrono::milliseconds deadline = patience);
  // The same for a condition that costs something: looked at only so often.
  [[nodiscard]] Result<> until_polled(const std::string& what, const std::function<bool()>& condition,
                                      std::chrono::milliseconds deadline = patience);
  // A part of the scenario: for how long a fault lasts.
  void let_pass(std::chrono::milliseconds time);

  void problem(std::string text);
  // A fault was injected; `recovered` with the same kind ends the measurement of the recovery.
  void struck(const std::string& kind);
  void recovered(const std::string& kind);

  [[nodiscard]] std::filesystem::path log_of(const std::string& program) const;

  boost::asio::io_context loop{1};
  const std::filesystem::path folder;
  const std::filesystem::path programs;
  const bool sealed;
  std::mt19937_64 random;
  std::unique_ptr<LogWatch> logs;
  Outcome outcome;

 private:
  Stage(std::filesystem::path folder, std::filesystem::path programs, std::uint64_t seed, bool sealed);
  std::map<std::string, std::chrono::steady_clock::time_point> down_since_;
};

}  // namespace flops::faults
