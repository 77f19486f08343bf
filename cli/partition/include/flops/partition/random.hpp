// Random numbers that are the same on every machine and with every standard library: xoshiro256** (Blackman and Vigna,
// 2018) seeded by splitmix64, and distributions made only of operations that IEEE 754 rounds exactly
// (+ - * / sqrt), because std:: distributions and the C library's log and exp differ between platforms.
//
// Not for secrets. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace flops::partition {

class Random {
 public:
  explicit Random(std::uint64_t seed);

  std::uint64_t next();
  // Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in (0, 1), multiples of 2^-53; never 0 or 1.
  double uniform();
  // Standard normal, by the polar method (Marsaglia and Bray, 1964).
  double normal();
  // Natural logarithm of a Gamma(shape, 1) value (Marsaglia and Tsang, 2000). The logarithm, because values of small
  // shapes underflow.
  double log_gamma_variate(double shape);
  // `count` proportions that sum to 1, from the symmetric Dirichlet distribution.
  std::vector<double> dirichlet(double alpha, std::size_t count);

  template <class T>
  void shuffle(std::span<T> values) {  // Fisher and Yates
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(i))]);
    }
  }

 private:
  std::array<std::uint64_t, 4> state_{};
};

// Within 4 units in the last place, the same bits everywhere. `x` > 0 and finite.
[[nodiscard]] double portable_log(double x);
// The same; underflows to 0 below -745, `x` at most 700.
[[nodiscard]] double portable_exp(double x);

}  // namespace flops::partition
