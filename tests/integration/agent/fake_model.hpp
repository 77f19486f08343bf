// What the fake trainer computes, so that a test can compute it too. 300,000 parameters: an update of several chunks.
#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace flops::test {

inline constexpr std::string_view fake_layout = R"([["w",[300,999]],["b",[300]]])";
inline constexpr std::size_t fake_parameters = 300'000;
inline constexpr std::uint64_t fake_samples = 40;
inline constexpr std::uint64_t fake_steps = 7;

inline std::vector<float> fake_initial(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(fake_parameters);
  for (float& value : values) {
    value = static_cast<float>(static_cast<std::int32_t>(random() & 0xFFFFFFU)) / 16'777'216.0F - 0.5F;
  }
  return values;
}

inline std::vector<float> fake_trained(std::vector<float> values, std::uint64_t seed) {
  const std::vector<float> noise = fake_initial(seed + 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] += noise[i] * 0.01F;
  }
  return values;
}

// The device's next control variate, after it trained x to y with `own`.
inline std::vector<float> fake_variate(std::vector<float> own, const std::vector<float>& x,
                                       const std::vector<float>& y) {
  for (std::size_t i = 0; i < own.size(); ++i) {
    own[i] = own[i] * 0.5F + (x[i] - y[i]);
  }
  return own;
}

}  // namespace flops::test
