#include <doctest/doctest.h>

#include <vector>

#include "flops/health/clock_check.hpp"

using namespace flops::health;

namespace {

constexpr std::int64_t day = 86'400;
constexpr std::int64_t year = 365 * day;
// The fleet was set up 100 days after the program was written; devices get certificates for 30 days.
constexpr std::int64_t begin = program_written + 100 * day;

std::vector<Validity> certificates(std::int64_t from = begin, std::int64_t days = 30) {
  return {{"the CA's certificate", begin, begin + 10 * year}, {"this device's certificate", from, from + days * day}};
}

}  // namespace

TEST_CASE("clock check: a wrong clock and an expired certificate are told apart") {
  struct Row {
    const char* name;
    std::int64_t now;
    std::vector<Validity> certificates;
    std::int64_t newest_seen;
    ClockVerdict verdict;
    const char* says;
  };
  const Row rows[] = {
      {"all is well", begin + day, certificates(), begin, ClockVerdict::plausible, "clock says"},
      {"all is well at the first start", begin, certificates(), 0, ClockVerdict::plausible, "clock says"},
      {"no certificates, a plausible time", begin, {}, 0, ClockVerdict::plausible, "clock says"},
      {"1970", day, certificates(), begin + day, ClockVerdict::behind,
       "1970-01-02T00:00:00Z, which is before the CA's"},
      {"1970, never connected", day, certificates(), 0, ClockVerdict::behind, "is the time set (chrony"},
      {"1970 without certificates", day, {}, 0, ClockVerdict::behind, "before this program was written"},
      {"the clock stopped while the certificate was renewed", begin + day, certificates(begin + 20 * day), begin + day,
       ClockVerdict::behind, "before this device's certificate was made"},
      {"the clock stopped, and the certificates do not show it", begin + day, certificates(), begin + 3 * day,
       ClockVerdict::behind, "before a time that it has shown already"},
      {"set back a little", begin + day, certificates(), begin + 2 * day, ClockVerdict::plausible, "clock says"},
      {"2040", program_written + 14 * year, certificates(), begin + day, ClockVerdict::ahead, "years after"},
      {"2040, never connected", program_written + 14 * year, certificates(), 0, ClockVerdict::ahead, "is the time set"},
      {"expired yesterday", begin + 31 * day, certificates(), begin + 30 * day, ClockVerdict::expired,
       "this device's certificate expired on"},
      {"in a drawer for a year", begin + year, certificates(), begin + day, ClockVerdict::expired, "renewed"},
      {"expired, and the clock stopped before that", begin + 29 * day, certificates(), begin + 40 * day,
       ClockVerdict::expired, "this device's certificate expired on"},
      {"the last second", begin + 30 * day, certificates(), begin, ClockVerdict::plausible, "clock says"},
      {"the first second", begin, certificates(), begin, ClockVerdict::plausible, "clock says"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const ClockFinding finding = judge_clock(row.now, row.certificates, row.newest_seen);
    CAPTURE(finding.text);
    CHECK(finding.verdict == row.verdict);
    CHECK(finding.text.find(row.says) != std::string::npos);
    CHECK(finding.clock_is_wrong() == (row.verdict == ClockVerdict::behind || row.verdict == ClockVerdict::ahead));
  }
}
