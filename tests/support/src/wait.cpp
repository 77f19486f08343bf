#include "flops/test/wait.hpp"

#include <thread>

#include <boost/asio/executor_work_guard.hpp>

namespace flops::test {

bool run_until(boost::asio::io_context& loop, const std::function<bool()>& condition,
               std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  const auto guard = boost::asio::make_work_guard(loop);
  loop.restart();
  while (!condition()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= end) {
      return false;
    }
    // Conditions may depend on other processes, so look again even when the loop has nothing to do.
    loop.run_one_for(std::chrono::milliseconds(10));
  }
  return true;
}

bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace flops::test
