#include "flops/partition/random.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace flops::partition {

namespace {

// log(2) as a sum: the high part has trailing zeros, so that its product with an exponent is exact (fdlibm).
constexpr double ln2_high = 6.93147180369123816490e-01;
constexpr double ln2_low = 1.90821492927058770002e-10;
constexpr double ln2 = 6.93147180559945286227e-01;
constexpr double sqrt_half = 7.07106781186547524401e-01;

std::uint64_t splitmix64(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

}  // namespace

double portable_log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // exact
  if (mantissa < sqrt_half) {
    mantissa *= 2;
    --exponent;
  }
  // log(m) = 2 artanh(s); |s| < 0.172, so the series reaches double precision at s^21.
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;
  double sum = 0;
  for (int n = 25; n >= 3; n -= 2) {
    sum = (sum + 1.0 / n) * square;
  }
  const double fraction = 2 * s + 2 * s * sum;
  return exponent * ln2_high + (exponent * ln2_low + fraction);
}

double portable_exp(double x) {
  if (x < -745) {
    return 0;
  }
  const double k = std::floor(x / ln2 + 0.5);
  const double r = (x - k * ln2_high) - k * ln2_low;  // |r| <= 0.35
  double sum = 1;
  for (int n = 18; n >= 1; --n) {
    sum = 1 + sum * r / n;
  }
  return std::ldexp(sum, static_cast<int>(k));  // exact but for subnormal results, which are rounded once
}

Random::Random(std::uint64_t seed) {
  for (std::uint64_t& word : state_) {
    word = splitmix64(seed);
  }
}

std::uint64_t Random::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17U;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Random::below(std::uint64_t bound) {
  // The lowest 2^64 mod bound values would come up once too often.
  const std::uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const std::uint64_t value = next();
    if (value >= threshold) {
      return value % bound;
    }
  }
}

double Random::uniform() {
  while (true) {
    const std::uint64_t bits = next() >> 11U;
    if (bits != 0) {
      return static_cast<double>(bits) * 0x1.0p-53;
    }
  }
}

double Random::normal() {
  while (true) {
    const double x = 2 * uniform() - 1;
    const double y = 2 * uniform() - 1;
    const double radius = x * x + y * y;
    if (radius > 0 && radius < 1) {
      return x * std::sqrt(-2 * portable_log(radius) / radius);
    }
  }
}

double Random::log_gamma_variate(double shape) {
  if (shape < 1) {
    // Gamma(a) = Gamma(a + 1) * U^(1 / a)
    const double larger = log_gamma_variate(shape + 1);
    return larger + portable_log(uniform()) / shape;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = normal();
    const double root = 1 + c * x;
    if (root <= 0) {
      continue;
    }
    const double v = root * root * root;
    if (portable_log(uniform()) < 0.5 * x * x + d - d * v + d * portable_log(v)) {
      return portable_log(d) + portable_log(v);
    }
  }
}

std::vector<double> Random::dirichlet(double alpha, std::size_t count) {
  std::vector<double> values(count);
  for (double& value : values) {
    value = log_gamma_variate(alpha);
  }
  const double largest = *std::ranges::max_element(values);
  double sum = 0;
  for (double& value : values) {
    value = portable_exp(value - largest);
    sum += value;
  }
  for (double& value : values) {
    value /= sum;
  }
  return values;
}

}  // namespace flops::partition
