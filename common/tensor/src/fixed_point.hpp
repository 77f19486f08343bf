// The arithmetic of the accumulator: 96-bit two's complement numbers in units of 2^(E-63), high 64 and low 32 bits in
// arrays of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "flops/tensor/accumulator.hpp"

namespace flops::tensor {

// Index of the first value that is not finite or not below 2^scale in magnitude; values.size() when all are.
[[nodiscard]] std::size_t first_out_of_range(std::span<const float> values, int scale);

// high:low += round_half_even(values * 2^(63-scale)) * weight; with `negative`, minus. Every value must be in range,
// and 0 < weight < 2^31.
void add_scaled(std::span<const float> values, int scale, std::uint32_t weight, bool negative, std::int64_t* high,
                std::uint32_t* low);

// The same for now + to - from, rounded one by one: the first element whose result is not below 2^scale in magnitude.
// All three vectors must be in range.
[[nodiscard]] std::size_t first_step_out_of_range(const Step& step, int scale);
void add_scaled_step(const Step& step, int scale, std::uint32_t weight, bool negative, std::int64_t* high,
                     std::uint32_t* low);

// high:low += other
void add_limbs(std::size_t count, const std::int64_t* other_high, const std::uint32_t* other_low, std::int64_t* high,
               std::uint32_t* low);

// high:low *= factor; nothing may overflow
void multiply_limbs(std::size_t count, std::uint32_t factor, std::int64_t* high, std::uint32_t* low);

// Divides many numbers by one: with a multiplication, which takes a fraction of the time of a division.
class Divisor {
 public:
  explicit Divisor(std::uint32_t weight);  // 0 < weight < 2^31
  [[nodiscard]] std::uint64_t quotient(std::uint64_t dividend, std::uint64_t& remainder) const;

 private:
  std::uint64_t weight_;
  unsigned shift_;
  std::uint64_t reciprocal_ = 0;  // floor((2^(64 + shift) - 1) / weight)
};

// means = high:low * 2^(scale-63) / total_weight, rounded once, half to even, subnormals included. A sum's magnitude
// must be at most 2^63 * total_weight, so a mean is never beyond 2^scale.
void divide(const std::int64_t* high, const std::uint32_t* low, const Divisor& total_weight, int scale,
            std::span<float> means);

}  // namespace flops::tensor
