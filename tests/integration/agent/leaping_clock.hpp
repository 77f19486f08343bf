// A day in seconds, for a program as it is: a library for LD_PRELOAD that lets the steady clock leap to the next timer
// whenever the program's loop waits for nothing else. Everything else is real: sockets, threads, files, the wall clock.
// It does not leap while a connection attempt is under way, so that one takes no time but its own, and is meant for
// when there is no connection.
//
//   LeapingClock clock(folder / "clock");
//   ... start the program with clock.environment() ...
//   clock.leap_until(24h);   // in all; then time goes on as usual
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace flops::test {

// What both sides see of it, in a file both have mapped.
struct LeapingClockState {
  std::atomic<std::int64_t> limit_ns;
  std::atomic<std::int64_t> leapt_ns;
  std::atomic<std::uint64_t> wakeups;   // of the loop, since the clock has leapt for the first time
  std::atomic<std::uint64_t> connects;  // TCP connections tried since then
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

inline constexpr const char* leaping_clock_variable = "FLOPS_LEAPING_CLOCK";

class LeapingClock {
 public:
  explicit LeapingClock(std::filesystem::path file);
  ~LeapingClock();
  LeapingClock(const LeapingClock&) = delete;
  LeapingClock& operator=(const LeapingClock&) = delete;

  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment() const;
  void leap_until(std::chrono::nanoseconds limit);
  [[nodiscard]] std::chrono::nanoseconds leapt() const { return std::chrono::nanoseconds(state_->leapt_ns.load()); }
  [[nodiscard]] std::uint64_t wakeups() const { return state_->wakeups; }
  [[nodiscard]] std::uint64_t connects() const { return state_->connects; }

 private:
  const std::filesystem::path file_;
  LeapingClockState* state_;
};

}  // namespace flops::test
