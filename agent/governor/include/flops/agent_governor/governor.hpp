// Decides whether the device may train now: a pure function of conditions, readings and time, with the memory that
// hysteresis needs. A limit that was crossed objects until the value is clearly on the other side again: 5 degrees,
// 5 percent of battery, 10 points of load (at least half the limit), half the memory pressure.
//
// Unknown readings stop nothing. A device that has to keep to times of day and whose clock is obviously not set waits:
// the windows are a promise to the device's owner.
#pragma once

#include <optional>
#include <string>

#include "flops/agent_governor/conditions.hpp"
#include "flops/agent_governor/readings.hpp"
#include "flops/core/clock.hpp"

namespace flops::agent {

enum class Cause { none, temperature, memory, load, battery, link, time };

struct Verdict {
  Cause cause = Cause::none;
  std::string reason;  // why it pauses, for people: "temperature 81 C is above 80 C"; short

  [[nodiscard]] bool run() const { return cause == Cause::none; }
  bool operator==(const Verdict&) const = default;
};

struct LocalTime {
  bool set = true;  // false: the clock is obviously wrong
  int weekday = 0;  // 0: Monday
  int minute = 0;   // of the day
};
// In the machine's time zone. A clock that shows a time before this program was written is not set.
[[nodiscard]] LocalTime local_time(WallTime now);

// The share of other programs in the processor time between two readings at least `window` apart.
class LoadMeter {
 public:
  static constexpr std::chrono::milliseconds window{900};
  // Percent; unknown until two readings were far enough apart. Keeps its value in between.
  [[nodiscard]] std::optional<double> update(const std::optional<CpuTimes>& cpu, SteadyTime now);

 private:
  std::optional<CpuTimes> base_;
  SteadyTime base_time_{};
  std::optional<double> percent_;
};

// One thread.
class Governor {
 public:
  explicit Governor(Conditions conditions) : conditions_(std::move(conditions)) {}

  // The verdict keeps its cause and reason as long as that cause objects, so that a value that only trembles is not
  // news. `now` never goes back.
  const Verdict& judge(const Readings& readings, SteadyTime now, const LocalTime& local);
  [[nodiscard]] const Verdict& verdict() const { return verdict_; }

 private:
  // Above `limit` it objects, until the value is not above `resume` any more.
  struct Latch {
    bool closed = false;
    bool update(const std::optional<double>& value, double limit, double resume);
  };

  [[nodiscard]] std::string temperature_objection(const Readings& readings);
  [[nodiscard]] std::string memory_objection(const Readings& readings);
  [[nodiscard]] std::string load_objection(const Readings& readings, SteadyTime now);
  [[nodiscard]] std::string battery_objection(const Readings& readings);
  [[nodiscard]] std::string link_objection(const Readings& readings) const;
  [[nodiscard]] std::string time_objection(const LocalTime& local) const;

  const Conditions conditions_;
  Latch temperature_;
  Latch memory_;
  Latch load_;
  Latch battery_;
  LoadMeter meter_;
  Verdict verdict_;
  std::optional<SteadyTime> good_since_;
};

}  // namespace flops::agent
