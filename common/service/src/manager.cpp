#include "flops/service/manager.hpp"

#include <algorithm>
#include <ctime>

#include <systemd/sd-daemon.h>

#include "flops/core/error.hpp"

namespace flops::service {
namespace {

std::uint64_t monotonic_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000U + static_cast<std::uint64_t>(now.tv_nsec) / 1000U;
}

// A manager that cannot be told is no reason to stop working.
void tell(const std::string& what) {
  (void)::sd_notify(0, what.c_str());
}

}  // namespace

Manager::Manager(boost::asio::any_io_executor loop) : timer_(std::move(loop)) {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) > 0) {
    period_ = std::chrono::microseconds(microseconds);
  }
}

void Manager::ready() {
  tell("READY=1");
  if (period_.count() > 0) {
    beat();
  }
}

void Manager::beat() {
  tell("WATCHDOG=1");
  timer_.expires_after(period_ / 2);
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      beat();
    }
  });
}

void Manager::status(std::string_view text) {
  if (text == status_) {
    return;
  }
  status_ = text;
  std::ranges::replace(status_, '\n', ' ');
  tell("STATUS=" + status_);
}

void Manager::reloading() {
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()));
}

void Manager::stopping() {
  timer_.cancel();
  tell("STOPPING=1");
}

}  // namespace flops::service
