// What an update weighs in a round's sum.
//
// Without staleness: its number of training samples. In a run that takes late updates, all weights are scaled by 16 and
// an update that is s versions late weighs samples / sqrt(1 + s) (Nguyen et al., "Federated Learning with Buffered
// Asynchronous Aggregation", AISTATS 2022), rounded to the nearest integer: sums stay exact, and a mean without late
// updates has the same bits as without the factor. Up to s = 1000 no update weighs nothing.
#pragma once

#include <cstdint>

namespace flops::aggregation {

inline constexpr unsigned stale_weight_shift = 4;

// Above tensor::max_total_weight when it is too much for any sum. Pure.
[[nodiscard]] std::uint64_t weight_in_sum(std::uint64_t samples, std::int64_t staleness, bool takes_late_updates);

}  // namespace flops::aggregation
