#include "flops/aggregation/weight.hpp"

#include "flops/tensor/accumulator.hpp"

namespace flops::aggregation {
namespace {

// The largest integer whose square is not above n, bit by bit: the same on every machine.
std::uint64_t square_root(std::uint64_t n) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = 1ULL << 31U; bit != 0; bit >>= 1U) {
    const std::uint64_t tried = root | bit;
    root = tried * tried <= n ? tried : root;
  }
  return root;
}

}  // namespace

std::uint64_t weight_in_sum(std::uint64_t samples, std::int64_t staleness, bool takes_late_updates) {
  if (!takes_late_updates || samples > tensor::max_total_weight) {
    return samples;
  }
  const std::uint64_t weight = samples << stale_weight_shift;
  if (staleness <= 0 || weight > tensor::max_total_weight) {
    return weight;
  }
  // The nearest integer n to x = weight / sqrt(1 + s) is the largest with 2n - 1 <= 2x.
  return (square_root(4 * weight * weight / (1 + static_cast<std::uint64_t>(staleness))) + 1) / 2;
}

}  // namespace flops::aggregation
