// What the participants of a round say of their work, and its sums.
//
// All numbers are integers, so that the sums depend on neither order nor grouping: totals of clusters are merged.
#pragma once

#include <cstdint>

#include "flops/core/error.hpp"

namespace flops::algorithms {

inline constexpr std::uint64_t max_samples = 1ULL << 40U;       // of a round
inline constexpr std::uint64_t max_sample_steps = 1ULL << 63U;  // samples times steps, of a round

struct Contribution {
  std::uint64_t samples = 0;
  // Local steps of the optimiser; with momentum the sum of what each step's gradient counts for in the end (|a|_1 of
  // FedNova's paper), rounded. 0: unknown.
  std::uint64_t steps = 0;
};

// The unit of samples a step, the quotients that FedNova weighs with: rounded to 1/4096.
inline constexpr std::uint64_t rate_unit = 4096;
// round(samples * 4096 / steps), at least 1; 0 without samples or steps, or above max_samples.
[[nodiscard]] std::uint64_t samples_per_step(const Contribution& work);

struct Totals {
  std::uint64_t participants = 0;
  std::uint64_t samples = 0;
  std::uint64_t sample_steps = 0;      // sum of samples * steps
  std::uint64_t samples_per_step = 0;  // sum of samples / steps, in 1/4096

  bool operator==(const Totals&) const = default;

  // permanent when a sum would pass its limit; then nothing changes.
  [[nodiscard]] Result<> add(const Contribution& work);
  [[nodiscard]] Result<> merge(const Totals& other);
};

}  // namespace flops::algorithms
