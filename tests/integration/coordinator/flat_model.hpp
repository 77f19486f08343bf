// What four devices, "a" to "d", make of a model, whatever coordinators are between them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device.hpp"

namespace flops::test {

// Of the model that they begin with.
inline constexpr unsigned initial_seed = 1;

// Training: a step of its own for each device and round.
[[nodiscard]] inline std::vector<float> trained(char name, std::int64_t round, const std::vector<float>& from) {
  std::vector<float> to = values(0.05F, static_cast<unsigned>(name) * 100U + static_cast<unsigned>(round));
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i] += from[i];
  }
  return to;
}
[[nodiscard]] inline std::uint64_t weight_of(char name) {
  return 10U * static_cast<unsigned>(name - 'a' + 1);
}

// The digest of the model of a flat run over all four, three rounds.
[[nodiscard]] const std::string& flat_model();

}  // namespace flops::test
