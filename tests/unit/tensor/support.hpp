// What the tests of this module share: deterministic values, memory as streams, a folder of one's own.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/tensor/layout.hpp"
#include "flops/tensor/stream.hpp"
#include "flops/test/temporary_folder.hpp"

namespace flops::tensor::testing {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

inline float float_of(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

// Comparing floats with == would call NaN different and -0 equal.
inline std::vector<std::uint32_t> bits_of(std::span<const float> values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float value : values) {
    bits.push_back(bits_of(value));
  }
  return bits;
}

// In [low, high); not std::uniform_real_distribution, whose values differ between libraries.
inline float uniform(Random& random, float low, float high) {
  return low + (high - low) * (static_cast<float>(random() >> 40U) * 0x1p-24F);
}

inline ByteSink append_to(Bytes& bytes) {
  return [&bytes](std::span<const std::byte> more) -> Result<> {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return {};
  };
}

inline ByteSource read_from(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> into) mutable -> Result<> {
    if (into.size() > bytes.size()) {
      return fail(ErrorKind::corrupt, "no more bytes");
    }
    std::ranges::copy(bytes.first(into.size()), into.begin());
    bytes = bytes.subspan(into.size());
    return {};
  };
}

inline Layout layout_of(std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors) {
  std::vector<TensorSpec> specs;
  for (auto& [name, shape] : tensors) {
    specs.push_back({name, shape, 0, 0});
  }
  auto layout = Layout::create(std::move(specs));
  REQUIRE(layout.has_value());
  return *layout;
}

using test::TemporaryFolder;

}  // namespace flops::tensor::testing
