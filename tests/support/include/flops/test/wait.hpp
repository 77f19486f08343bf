// Waiting for a condition with a deadline, never for a fixed time.
#pragma once

#include <chrono>
#include <functional>

#include <boost/asio/io_context.hpp>

namespace flops::test {

// Long enough for a loaded machine under a sanitizer; a passing test never waits that long.
inline constexpr std::chrono::seconds patience{30};

// Runs the loop on this thread until the condition holds. False when the deadline passes first.
[[nodiscard]] bool run_until(boost::asio::io_context& loop, const std::function<bool()>& condition,
                             std::chrono::milliseconds deadline = patience);

// Polls the condition without a loop.
[[nodiscard]] bool wait_until(const std::function<bool()>& condition, std::chrono::milliseconds deadline = patience);

}  // namespace flops::test
