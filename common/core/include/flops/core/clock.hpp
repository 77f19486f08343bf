// Time as a port, so that state machines are tested with a clock that tests move.
//
// `steady` never goes back and measures durations; `wall` is for people and records and may be wrong
// (devices have no battery-backed clock).
#pragma once

#include <chrono>
#include <string>

namespace flops {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using Seconds = std::chrono::duration<double>;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual SteadyTime steady() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall() const override { return std::chrono::system_clock::now(); }
};

class FakeClock final : public Clock {
 public:
  [[nodiscard]] SteadyTime steady() const override { return steady_; }
  [[nodiscard]] WallTime wall() const override { return wall_; }
  void advance(std::chrono::nanoseconds by) {
    steady_ += by;
    wall_ += std::chrono::duration_cast<WallTime::duration>(by);
  }

 private:
  SteadyTime steady_{std::chrono::hours(1)};
  WallTime wall_{std::chrono::seconds(1'700'000'000)};
};

// Milliseconds since 1970, as stored in databases and sent in messages.
[[nodiscard]] std::int64_t unix_ms(WallTime time);
// "2026-11-24T12:00:00Z"
[[nodiscard]] std::string iso8601(std::int64_t unix_milliseconds);

}  // namespace flops
