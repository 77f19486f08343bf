#include "flops/service/manager.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include <unistd.h>

#include "datagram.hpp"
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
  if (const char* socket = std::getenv("NOTIFY_SOCKET")) {
    (void)send_datagram(socket, what);
  }
}

std::uint64_t number_in(const char* variable) {
  const std::string_view text = std::getenv(variable) != nullptr ? std::getenv(variable) : "";
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

// Of the watchdog; 0: none, or it is another process's.
std::chrono::microseconds watchdog_period() {
  const std::uint64_t pid = number_in("WATCHDOG_PID");
  const bool ours = pid == 0 || pid == static_cast<std::uint64_t>(::getpid());
  return std::chrono::microseconds(ours ? number_in("WATCHDOG_USEC") : 0);
}

}  // namespace

Manager::Manager(boost::asio::any_io_executor loop) : timer_(std::move(loop)), period_(watchdog_period()) {}

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
