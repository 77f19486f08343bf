#include "fixed_point.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace flops::tensor {
namespace {

constexpr std::uint32_t sign_bit = 1U << 31U;

std::uint32_t magnitude_bits(float value) {
  return std::bit_cast<std::uint32_t>(value) & ~sign_bit;
}

// high:low += q * weight.
inline void add_product(std::int64_t q, std::int32_t weight, std::int64_t& high, std::uint32_t& low) {
  const std::uint64_t t = std::uint64_t{static_cast<std::uint32_t>(q)} * static_cast<std::uint32_t>(weight) + low;
  const std::int64_t upper = std::int64_t{static_cast<std::int32_t>(q >> 32)} * weight;
  low = static_cast<std::uint32_t>(t);
  // Unsigned: a sum may pass the range on its way to a result within it.
  high = static_cast<std::int64_t>(static_cast<std::uint64_t>(high) + static_cast<std::uint64_t>(upper) + (t >> 32U));
}

// The factor is a power of two, so the product is exact and llrint the only rounding.
inline std::int64_t on_grid(float value, double factor) {
  return std::llrint(static_cast<double>(value) * factor);
}

// high:low += round(values * factor) * weight.
void multiply_add(const float* __restrict values, std::size_t count, double factor, std::int32_t weight,
                  std::int64_t* __restrict high, std::uint32_t* __restrict low) {
  for (std::size_t i = 0; i < count; ++i) {
    add_product(on_grid(values[i], factor), weight, high[i], low[i]);
  }
}

}  // namespace

std::size_t first_out_of_range(std::span<const float> values, int scale) {
  // Bits of floats of one sign are ordered like the floats, with infinity and NaN above all.
  const std::uint32_t limit = magnitude_bits(std::ldexp(1.0F, scale));
  const float* const data = values.data();
  // The difference has its sign bit set when a value is too large: subtract and or are vector instructions everywhere,
  // a maximum of integers is not.
  std::uint32_t signs = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    signs |= limit - 1 - magnitude_bits(data[i]);
  }
  if ((signs & sign_bit) == 0) {
    return values.size();
  }
  return static_cast<std::size_t>(
      std::ranges::find_if(values, [limit](float value) { return magnitude_bits(value) >= limit; }) - values.begin());
}

void add_scaled(std::span<const float> values, int scale, std::uint32_t weight, bool negative, std::int64_t* high,
                std::uint32_t* low) {
  const double factor = std::ldexp(negative ? -1.0 : 1.0, 63 - scale);
  multiply_add(values.data(), values.size(), factor, static_cast<std::int32_t>(weight), high, low);
}

std::size_t first_step_out_of_range(const Step& step, int scale) {
  __extension__ using Wide = __int128;
  constexpr Wide limit = Wide{1} << 63U;
  const double factor = std::ldexp(1.0, 63 - scale);
  for (std::size_t i = 0; i < step.to.size(); ++i) {
    const Wide moved = Wide{on_grid(step.now[i], factor)} + on_grid(step.to[i], factor) - on_grid(step.from[i], factor);
    if (moved <= -limit || moved >= limit) {
      return i;
    }
  }
  return step.to.size();
}

void add_scaled_step(const Step& step, int scale, std::uint32_t weight, bool negative, std::int64_t* high,
                     std::uint32_t* low) {
  const double factor = std::ldexp(negative ? -1.0 : 1.0, 63 - scale);
  for (std::size_t i = 0; i < step.to.size(); ++i) {
    // Unsigned: only the result is known to be in range.
    const auto moved = static_cast<std::uint64_t>(on_grid(step.now[i], factor)) +
                       static_cast<std::uint64_t>(on_grid(step.to[i], factor)) -
                       static_cast<std::uint64_t>(on_grid(step.from[i], factor));
    add_product(static_cast<std::int64_t>(moved), static_cast<std::int32_t>(weight), high[i], low[i]);
  }
}

void add_limbs(std::size_t count, const std::int64_t* other_high, const std::uint32_t* other_low, std::int64_t* high,
               std::uint32_t* low) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t t = std::uint64_t{low[i]} + other_low[i];
    low[i] = static_cast<std::uint32_t>(t);
    high[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(high[i]) +
                                        static_cast<std::uint64_t>(other_high[i]) + (t >> 32U));
  }
}

void multiply_limbs(std::size_t count, std::uint32_t factor, std::int64_t* high, std::uint32_t* low) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t t = std::uint64_t{low[i]} * factor;
    low[i] = static_cast<std::uint32_t>(t);
    high[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(high[i]) * factor + (t >> 32U));
  }
}

Divisor::Divisor(std::uint32_t weight) : weight_(weight), shift_(static_cast<unsigned>(std::bit_width(weight)) - 1U) {
  __extension__ using Wide = unsigned __int128;
  reciprocal_ = static_cast<std::uint64_t>(((Wide{1} << (64U + shift_)) - 1) / weight);
}

std::uint64_t Divisor::quotient(std::uint64_t dividend, std::uint64_t& remainder) const {
  __extension__ using Wide = unsigned __int128;
  // The reciprocal is too small by less than one, and so the quotient by at most two.
  std::uint64_t quotient = static_cast<std::uint64_t>(Wide{dividend} * reciprocal_ >> 64U) >> shift_;
  remainder = dividend - quotient * weight_;
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t more = (weight_ - 1 - remainder) >> 63U;
    quotient += more;
    remainder -= weight_ & (0 - more);
  }
  return quotient;
}

namespace {

float divide_one(std::int64_t high, std::uint32_t low, const Divisor& total_weight, int scale) {
  // The magnitude in 96 bits, upper:lower. Without branches, here and below: signs and roundings are random.
  const auto sign = static_cast<std::uint64_t>(high >> 63U);
  const auto lower = static_cast<std::uint32_t>((low ^ sign) - sign);
  const std::uint64_t upper = (static_cast<std::uint64_t>(high) ^ sign) + (sign & (low == 0 ? 1U : 0U));
  // With the top bit in place, the upper 64 bits give a quotient of at least 33 bits; whatever is below it only
  // matters as "something".
  std::uint64_t dividend = 0;
  std::uint32_t below = 0;
  int zeros = 0;
  if (upper != 0) {
    zeros = std::countl_zero(upper);
    const std::uint64_t moved = std::uint64_t{lower} << static_cast<unsigned>(zeros);
    dividend = zeros < 32 ? upper << zeros | moved >> 32U : upper << zeros | std::uint64_t{lower} << (zeros - 32);
    below = zeros < 32 ? static_cast<std::uint32_t>(moved) : 0;
  } else if (lower != 0) {
    zeros = 64 + std::countl_zero(lower);
    dividend = std::uint64_t{lower} << (32 + std::countl_zero(lower));
  } else {
    return 0.0F;
  }
  std::uint64_t remainder = 0;
  const std::uint64_t quotient = total_weight.quotient(dividend, remainder);
  const bool inexact = remainder != 0 || below != 0;
  // The mean is (quotient + a fraction) * 2^exponent.
  const int exponent = scale - 31 - zeros;
  const int last_bit = std::max(exponent + static_cast<int>(std::bit_width(quotient)) - 24, -149);
  const int dropped = last_bit - exponent;
  std::uint64_t kept = 0;
  if (dropped < 64) {
    // Half to even: below half carries nothing, half carries into odd, anything more carries.
    const std::uint64_t half = 1ULL << (dropped - 1);
    const std::uint64_t rest = quotient & (2 * half - 1);
    kept = quotient >> dropped;
    const std::uint64_t sticky = inexact ? 1 : kept & 1U;
    kept += (2 * half - (rest << 1U | sticky)) >> 63U;
  } else if (dropped == 64) {
    const std::uint64_t half = 1ULL << 63U;
    kept = quotient > half || (quotient == half && inexact) ? 1 : 0;
  }
  // The leading bit of `kept`, or the carry of rounding, adds itself to the exponent field.
  const auto bits = (static_cast<std::uint32_t>(last_bit + 149) << 23U) + static_cast<std::uint32_t>(kept);
  return std::bit_cast<float>(bits | (static_cast<std::uint32_t>(sign) & sign_bit));
}

}  // namespace

void divide(const std::int64_t* high, const std::uint32_t* low, const Divisor& total_weight, int scale,
            std::span<float> means) {
  for (std::size_t i = 0; i < means.size(); ++i) {
    means[i] = divide_one(high[i], low[i], total_weight, scale);
  }
}

}  // namespace flops::tensor
