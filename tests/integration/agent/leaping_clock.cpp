#include "leaping_clock.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fleet.hpp"
#include "flops/core/fd.hpp"

namespace flops::test {

LeapingClock::LeapingClock(std::filesystem::path file) : file_(std::move(file)) {
  const Fd fd(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::ftruncate(fd.get(), sizeof(LeapingClockState)) == 0);
  void* const address = ::mmap(nullptr, sizeof(LeapingClockState), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  REQUIRE(address != MAP_FAILED);
  state_ = static_cast<LeapingClockState*>(address);  // zeros
}

LeapingClock::~LeapingClock() {
  ::munmap(state_, sizeof(LeapingClockState));
}

std::vector<std::pair<std::string, std::string>> LeapingClock::environment() const {
  const char* const sanitizer = std::getenv("ASAN_OPTIONS");
  return {{"LD_PRELOAD", program("tests/libleaping_clock.so").string()},
          {leaping_clock_variable, file_.string()},
          // A sanitizer's library wants to be the first one.
          {"ASAN_OPTIONS", (sanitizer != nullptr ? std::string(sanitizer) + ":" : "") + "verify_asan_link_order=0"}};
}

void LeapingClock::leap_until(std::chrono::nanoseconds limit) {
  state_->limit_ns = limit.count();
}

}  // namespace flops::test
