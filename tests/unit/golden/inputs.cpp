#include "inputs.hpp"

#include <random>

#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"

namespace flops::golden {

tensor::Layout layout() {
  auto made =
      tensor::Layout::create({{"first.weight", {257, 301}, 0, 0}, {"first.bias", {257}, 0, 0}, {"scale", {}, 0, 0}});
  REQUIRE(made.has_value());
  return *made;
}

std::vector<float> values(std::uint64_t seed, float range) {
  std::mt19937_64 random(seed);
  std::vector<float> made(layout().parameters());
  for (float& value : made) {
    // 24 bits, which float32 has; so this is exact.
    value = (static_cast<float>(random() >> 40U) * 0x1p-23F - 1.0F) * range;
  }
  return made;
}

tensor::ByteSink append_to(std::vector<std::byte>& bytes) {
  return [&bytes](std::span<const std::byte> more) -> Result<> {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return {};
  };
}

std::string digest_of(std::span<const std::byte> bytes) {
  return crypto::sha256(bytes).hex();
}

}  // namespace flops::golden
