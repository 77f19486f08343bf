// What a row found, as it passes from the process that plays it to the one that counts.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::faults {

struct Outcome {
  std::string row;
  std::vector<std::string> problems;  // none: passed
  std::string skipped;                // why, when it could not be played here
  double seconds = 0;
  std::map<std::string, int> faults;               // by kind
  std::map<std::string, double> slowest_recovery;  // by kind, in seconds
  std::vector<std::string> models;                 // digest of each round's model
  [[nodiscard]] bool passed() const { return problems.empty() && skipped.empty(); }
};

[[nodiscard]] Result<> save(const Outcome& outcome, const std::filesystem::path& file);
[[nodiscard]] Result<Outcome> load_outcome(const std::filesystem::path& file);

}  // namespace flops::faults
