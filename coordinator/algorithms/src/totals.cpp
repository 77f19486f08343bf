#include "flops/algorithms/totals.hpp"

#include <algorithm>

namespace flops::algorithms {
namespace {

bool sum(std::uint64_t a, std::uint64_t b, std::uint64_t limit, std::uint64_t& into) {
  return !__builtin_add_overflow(a, b, &into) && into <= limit;
}

}  // namespace

std::uint64_t samples_per_step(const Contribution& work) {
  if (work.samples == 0 || work.steps == 0 || work.samples > max_samples) {
    return 0;
  }
  const std::uint64_t scaled = work.samples * rate_unit;
  // The remainder against half of the divisor: adding half could overflow.
  const std::uint64_t up = scaled % work.steps >= work.steps - scaled % work.steps ? 1 : 0;
  return std::max<std::uint64_t>(scaled / work.steps + up, 1);
}

Result<> Totals::add(const Contribution& work) {
  Totals one{1, work.samples, 0, algorithms::samples_per_step(work)};
  if (__builtin_mul_overflow(work.samples, work.steps, &one.sample_steps)) {
    return fail(ErrorKind::permanent, "{} samples in {} steps are too many", work.samples, work.steps);
  }
  return merge(one);
}

Result<> Totals::merge(const Totals& other) {
  Totals both;
  if (!sum(participants, other.participants, max_samples, both.participants) ||
      !sum(samples, other.samples, max_samples, both.samples) ||
      !sum(sample_steps, other.sample_steps, max_sample_steps, both.sample_steps) ||
      !sum(samples_per_step, other.samples_per_step, max_samples * rate_unit, both.samples_per_step)) {
    return fail(ErrorKind::permanent, "{} samples and {} samples times steps more would pass the limits of a round",
                other.samples, other.sample_steps);
  }
  *this = both;
  return {};
}

}  // namespace flops::algorithms
