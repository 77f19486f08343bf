// What a manifest says, before it becomes a run.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flops/core/config.hpp"
#include "flops/manifest/manifest.hpp"

namespace flops::manifest {

// What has a default that depends on other keys is unset at first.
inline constexpr std::int64_t unset = -1;

struct AlgorithmDraft {
  std::string name = "fedavg";
  double server_learning_rate = unset;
  double momentum = unset;
  double second_momentum = unset;
  double adaptivity = unset;
  double proximal = unset;
};

struct Draft {
  Manifest manifest;
  std::int64_t seed = 1;
  std::string decay = "constant";
  std::string mode = "sync";
  std::string clusters;
  std::int64_t min_available = unset;
  std::int64_t buffer = unset;
  std::int64_t max_staleness = unset;
  std::chrono::milliseconds deadline = std::chrono::seconds(600);
  AlgorithmDraft algorithm;
  std::int64_t global_min_available = unset;
  std::chrono::milliseconds global_deadline = std::chrono::seconds(3600);
  AlgorithmDraft global_algorithm;
  std::vector<std::string> architecture;
};

// The draft must outlive the spec.
void bind(ConfigSpec& spec, Draft& draft);

// The key of flops.toml that says what this field of a run specification does; the field itself if there is none.
[[nodiscard]] std::string key_of(std::string_view field);

}  // namespace flops::manifest
