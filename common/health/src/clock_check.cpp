#include "flops/health/clock_check.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "flops/core/clock.hpp"

namespace flops::health {
namespace {

constexpr const char* advice = "is the time set (chrony or systemd-timesyncd, battery of the real-time clock)?";

std::string shown(std::int64_t seconds) {
  return iso8601(seconds * 1000);
}

}  // namespace

ClockFinding judge_clock(std::int64_t now, std::span<const Validity> certificates, std::int64_t newest_seen) {
  const std::int64_t known = std::max(newest_seen, program_written);
  const std::string says = fmt::format("this device's clock says {}", shown(now));
  const auto behind = [&](const std::string& what, std::int64_t time) {
    return ClockFinding{ClockVerdict::behind,
                        fmt::format("{}, which is before {} ({}): {}", says, what, shown(time), advice)};
  };
  for (const Validity& certificate : certificates) {
    if (now < certificate.not_before) {
      return behind(certificate.whose + " was made", certificate.not_before);
    }
  }
  for (const Validity& certificate : certificates) {
    if (now > certificate.not_after && now > known + longest_absence) {
      return {ClockVerdict::ahead,
              fmt::format("{}, years after it was known to be right ({}): {}", says, shown(known), advice)};
    }
    if (std::max(now, known) > certificate.not_after) {
      return {ClockVerdict::expired,
              fmt::format("{}, and {} expired on {}: it has to be renewed, unless the time is wrong", says,
                          certificate.whose, shown(certificate.not_after))};
    }
  }
  if (now < known - clock_tolerance) {
    return behind(newest_seen > program_written ? "a time that it has shown already" : "this program was written",
                  known);
  }
  return {ClockVerdict::plausible, says};
}

}  // namespace flops::health
