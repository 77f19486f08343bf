// Whether a certificate that is not valid now is to blame, or this device's clock: many devices have none that runs on
// while they are off, and start in 1970 or wherever they stopped. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace flops::health {

// Seconds since 1970, here and below.
// 2026-01-01: this program was written later.
inline constexpr std::int64_t program_written = 1'767'225'600;
// A device that was away for longer than this is less likely than a clock that is wrong.
inline constexpr std::int64_t longest_absence = std::int64_t{3} * 365 * 86'400;
// So far clocks may go back when they are set.
inline constexpr std::int64_t clock_tolerance = 86'400;

struct Validity {
  std::string whose;  // "the broker's certificate"
  std::int64_t not_before = 0;
  std::int64_t not_after = 0;
};

enum class ClockVerdict {
  plausible,  // nothing speaks against the clock, and every certificate is valid
  behind,     // the clock is wrong: it says a time that is over
  ahead,      // the clock is wrong: it says a time that cannot have come yet
  expired,    // the clock may well be right: a certificate has expired
};

struct ClockFinding {
  ClockVerdict verdict = ClockVerdict::plausible;
  std::string text;  // what the clock says, what is wrong with that, and what helps

  [[nodiscard]] bool clock_is_wrong() const {
    return verdict == ClockVerdict::behind || verdict == ClockVerdict::ahead;
  }
};

// `now` is what the clock says, `newest_seen` the newest time at which this device's clock was known to be right; 0:
// never. A certificate from the future means that the clock is behind. One that ended before `newest_seen` has expired
// whatever the clock says. One that ended since has expired too, unless the clock claims a longer absence than
// longest_absence.
[[nodiscard]] ClockFinding judge_clock(std::int64_t now, std::span<const Validity> certificates,
                                       std::int64_t newest_seen);

}  // namespace flops::health
