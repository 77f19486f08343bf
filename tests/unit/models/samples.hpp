// Samples to train on, and a model's parameters as the tests compare them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "flops/models/training.hpp"
#include "flops/test/digits.hpp"

namespace flops::test {

inline constexpr auto go_on = [](auto&&...) { return Result<>(); };

inline models::Split digits(std::uint32_t count, std::uint32_t seed) {
  const TemporaryFolder folder;
  write_digits(folder, "d", count, seed);
  auto split = models::read_idx(folder / "d-images", folder / "d-labels");
  REQUIRE(split);
  return std::move(*split);
}

inline std::vector<float> parameters_of(const models::Model& model) {
  std::vector<float> flat(model.layout().parameters());
  REQUIRE(model.store(flat));
  return flat;
}

}  // namespace flops::test
