// A run of rounds with a few devices, as the coordinator would make it: exact mean, then the algorithm's step.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/algorithms/algorithm.hpp"

namespace flops::algorithms::testing {

using Values = std::vector<float>;
using Exact = std::vector<double>;

inline Values random_values(std::uint64_t seed, std::size_t count, float around) {
  std::mt19937_64 random(seed);
  Values values(count);
  for (float& value : values) {
    value = around * (static_cast<float>(random() >> 40U) * 0x1p-23F - 1.0F);
  }
  return values;
}

struct Device {
  Values values;
  Contribution work;
};

inline std::unique_ptr<Algorithm> algorithm(const Spec& spec) {
  auto made = make(spec);
  REQUIRE_MESSAGE(made.has_value(), made.error().what);
  return *std::move(made);
}

inline Totals totals_of(const std::vector<Device>& devices) {
  Totals totals;
  for (const Device& device : devices) {
    REQUIRE(totals.add(device.work).has_value());
  }
  return totals;
}

// The mean by the algorithm's weights, rounded once.
inline Values mean_of(const Algorithm& algorithm, const std::vector<Device>& devices) {
  Values mean(devices.front().values.size());
  for (std::size_t i = 0; i < mean.size(); ++i) {
    long double sum = 0;
    long double total = 0;
    for (const Device& device : devices) {
      const auto weight = static_cast<long double>(algorithm.weight(device.work));
      sum += weight * static_cast<long double>(device.values[i]);
      total += weight;
    }
    mean[i] = static_cast<float>(sum / total);
  }
  return mean;
}

struct Server {
  Values model;
  std::vector<Values> state;

  Server(const Algorithm& algorithm, Values start)
      : model(std::move(start)), state(algorithm.state_vectors(), Values(model.size())) {}

  // Cuts the vector after every `block` elements.
  void step(const Algorithm& algorithm, const Values& mean, const RoundFacts& facts, std::size_t block) {
    Values next(model.size());
    for (std::size_t at = 0; at < model.size(); at += block) {
      const std::size_t n = std::min(block, model.size() - at);
      Block part{
          at, std::span(model).subspan(at, n), std::span(mean).subspan(at, n), std::span(next).subspan(at, n), {}};
      for (std::size_t k = 0; k < state.size(); ++k) {
        part.state[k] = std::span(state[k]).subspan(at, n);
      }
      algorithm.step(part, facts);
    }
    model = std::move(next);
  }
};

inline std::vector<std::uint32_t> bits_of(const Values& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<std::uint32_t>(value));
  }
  return bits;
}

}  // namespace flops::algorithms::testing
