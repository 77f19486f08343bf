// Exponential back-off with full jitter: the n-th wait is uniform in (0, min(cap, initial * 2^n)].
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace flops {

class Backoff {
 public:
  Backoff(std::chrono::milliseconds initial, std::chrono::milliseconds cap) : initial_(initial), cap_(cap) {}

  template <class Random>
  [[nodiscard]] std::chrono::milliseconds next(Random& random) {
    const auto ceiling = std::min(cap_, std::chrono::milliseconds(initial_.count() << std::min(attempt_, 20)));
    ++attempt_;
    return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(1, ceiling.count())(random));
  }
  void reset() { attempt_ = 0; }

 private:
  std::chrono::milliseconds initial_;
  std::chrono::milliseconds cap_;
  int attempt_ = 0;
};

}  // namespace flops
