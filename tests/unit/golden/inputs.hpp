// Inputs that are the same on every machine: integers from a generator that the C++ standard fixes, scaled by powers of
// two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "flops/tensor/layout.hpp"
#include "flops/tensor/stream.hpp"

namespace flops::golden {

// Odd sizes, so that no block or vector register is full at the end.
[[nodiscard]] tensor::Layout layout();
// One value an element of layout(), in [-range, range); `range` is a power of two.
[[nodiscard]] std::vector<float> values(std::uint64_t seed, float range);

[[nodiscard]] tensor::ByteSink append_to(std::vector<std::byte>& bytes);
[[nodiscard]] std::string digest_of(std::span<const std::byte> bytes);

}  // namespace flops::golden
