#include "flops/partition/random.hpp"

#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

namespace flops::partition {
namespace {

TEST_CASE("random: the first values of a seed are fixed for ever") {
  // xoshiro256** after splitmix64(1): a change here changes every split that was ever made.
  Random random(1);
  CHECK(random.next() == 0xb3f2af6d0fc710c5ULL);
  CHECK(random.next() == 0x853b559647364ceaULL);
}

TEST_CASE("random: log and exp agree with the C library") {
  for (int i = -1000; i < 1000; ++i) {
    const double x = std::ldexp(1 + 0.37 * (i & 1), i);
    CHECK(portable_log(x) == doctest::Approx(std::log(x)).epsilon(1e-15));
  }
  CHECK(portable_log(1) == 0);
  for (int i = -1900; i < 1900; ++i) {
    const double x = 0.367 * i;
    CHECK(portable_exp(x) == doctest::Approx(std::exp(x)).epsilon(2e-15));
  }
  CHECK(portable_exp(0) == 1);
  CHECK(portable_exp(-1e300) == 0);
}

TEST_CASE("random: below is in range and reaches every value") {
  Random random(7);
  std::array<int, 7> seen{};
  for (int i = 0; i < 7000; ++i) {
    ++seen.at(static_cast<std::size_t>(random.below(7)));
  }
  for (const int count : seen) {
    CHECK(count > 850);
    CHECK(count < 1150);
  }
}

TEST_CASE("random: normal and gamma have the moments they should have") {
  Random random(3);
  constexpr int n = 40'000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / n) < 0.02);
  CHECK(std::abs(squares / n - 1) < 0.03);

  for (const double shape : {0.3, 1.0, 5.0}) {
    CAPTURE(shape);
    double mean = 0;
    for (int i = 0; i < n; ++i) {
      mean += portable_exp(random.log_gamma_variate(shape)) / n;
    }
    CHECK(std::abs(mean - shape) < 5 * std::sqrt(shape / n));
  }
}

TEST_CASE("random: proportions are finite and sum to one even for tiny and huge alphas") {
  Random random(5);
  for (const double alpha : {0.001, 0.1, 1.0, 1e6}) {
    CAPTURE(alpha);
    const auto shares = random.dirichlet(alpha, 50);
    CHECK(std::accumulate(shares.begin(), shares.end(), 0.0) == doctest::Approx(1));
    for (const double share : shares) {
      CHECK(share >= 0);
      CHECK(share <= 1);
    }
  }
}

}  // namespace
}  // namespace flops::partition
