// What a site is asked for: a cluster with a coordinator of its own does its share of a cycle as a run of its own.
// Pure.
#pragma once

#include <cstdint>

#include "flops/rounds/run_spec.hpp"
#include "flops/wire/messages.hpp"

namespace flops::rounds {

// Of the cycle; 0: before the first. The run's specification without what concerns the level of cycles: one cycle, no
// clusters. With the seed and the rounds' numbers as they are, every device has the seed of a flat run.
[[nodiscard]] wire::Part site_part(const RunSpec& spec, std::int64_t cycle);

// Whether the answer may be the exact sum of the site's devices: only after a single round, because each round has a
// base of its own.
[[nodiscard]] bool offers_sum(const RunSpec& spec, wire::TaskKind kind);

}  // namespace flops::rounds
