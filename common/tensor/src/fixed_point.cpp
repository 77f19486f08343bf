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

// high:low += round(values * factor) * weight.
void multiply_add(const float* __restrict values, std::size_t count, double factor, std::int32_t weight,
                  std::int64_t* __restrict high, std::uint32_t* __restrict low) {
  for (std::size_t i = 0; i < count; ++i) {
    // The factor is a power of two, so the product is exact and llrint the only rounding.
    const std::int64_t q = std::llrint(static_cast<double>(values[i]) * factor);
    const std::uint64_t t = std::uint64_t{static_cast<std::uint32_t>(q)} * static_cast<std::uint32_t>(weight) + low[i];
    const std::int64_t upper = std::int64_t{static_cast<std::int32_t>(q >> 32)} * weight;
    low[i] = static_cast<std::uint32_t>(t);
    // Unsigned: a sum may pass the range on its way to a result within it.
    high[i] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(high[i]) + static_cast<std::uint64_t>(upper) + (t >> 32U));
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

void add_limbs(std::size_t count, const std::int64_t* other_high, const std::uint32_t* other_low, std::int64_t* high,
               std::uint32_t* low) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t t = std::uint64_t{low[i]} + other_low[i];
    low[i] = static_cast<std::uint32_t>(t);
    high[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(high[i]) +
                                        static_cast<std::uint64_t>(other_high[i]) + (t >> 32U));
  }
}

float divide(std::int64_t high, std::uint32_t low, std::uint32_t total_weight, int scale) {
  __extension__ using Wide = unsigned __int128;
  const bool negative = high < 0;
  const Wide sum = Wide{static_cast<std::uint64_t>(high)} << 32U | low;
  // Sign-extended by the cast and shift above only within 96 bits: negate there.
  constexpr Wide mask = (Wide{1} << 96U) - 1;
  const Wide magnitude = negative ? (~sum + 1) & mask : sum;
  if (magnitude == 0) {
    return 0.0F;
  }
  // With the top bit in place, the upper 64 bits give a quotient of at least 33 bits; whatever is below it only
  // matters as "something".
  const auto upper_part = static_cast<std::uint64_t>(magnitude >> 64U);
  const int zeros =
      upper_part != 0 ? std::countl_zero(upper_part) : 64 + std::countl_zero(static_cast<std::uint64_t>(magnitude));
  const Wide normal = magnitude << static_cast<unsigned>(zeros);
  const auto dividend = static_cast<std::uint64_t>(normal >> 64U);
  const std::uint64_t quotient = dividend / total_weight;
  const bool inexact = dividend % total_weight != 0 || static_cast<std::uint64_t>(normal) != 0;
  // The mean is (quotient + a fraction) * 2^exponent.
  const int exponent = scale + 1 - zeros;
  const int last_bit = std::max(exponent + static_cast<int>(std::bit_width(quotient)) - 24, -149);
  const int dropped = last_bit - exponent;
  std::uint64_t kept = 0;
  if (dropped <= 64) {
    kept = dropped < 64 ? quotient >> dropped : 0;
    const std::uint64_t rest = quotient - (dropped < 64 ? kept << dropped : 0);
    const std::uint64_t half = 1ULL << (dropped - 1);
    kept += rest > half || (rest == half && (inexact || (kept & 1U) != 0)) ? 1 : 0;
  }
  // The leading bit of `kept`, or the carry of rounding, adds itself to the exponent field.
  const auto bits = (static_cast<std::uint32_t>(last_bit + 149) << 23U) + static_cast<std::uint32_t>(kept);
  return std::bit_cast<float>(bits | (negative ? sign_bit : 0U));
}

}  // namespace flops::tensor
