// The step that most algorithms make with the model: from the base towards the mean.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace flops::algorithms {

// next = base + rate * (mean - base), rounded once; with a rate of 1 the mean, bit for bit.
inline void step_towards(std::span<const float> base, std::span<const float> mean, double rate, std::span<float> next) {
  if (rate == 1.0) {
    std::ranges::copy(mean, next.begin());
    return;
  }
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double from = base[i];
    next[i] = static_cast<float>(from + rate * (mean[i] - from));
  }
}

}  // namespace flops::algorithms
