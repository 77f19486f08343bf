// What a user asks for when starting a run, with its defaults and ranges (docs/protocol.md, "Run specification").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/wire/messages.hpp"

namespace flops::rounds {

struct RunSpec {
  std::string model;  // name in the zoo
  std::string data;   // data tag
  std::int64_t rounds = 5;
  std::uint64_t seed = 1;
  std::int64_t min_fit = 2;        // updates a round needs
  std::int64_t min_available = 2;  // devices that must be there before the run starts
  double fraction = 1.0;           // of the available devices that get a task
  std::int64_t deadline_seconds = 600;
  bool evaluate = true;
  std::string codec = "lossless";
  wire::TrainingSpec training;

  bool operator==(const RunSpec&) const = default;
};

// permanent: everything that is wrong, one problem a line: unknown fields, types, ranges.
[[nodiscard]] Result<RunSpec> parse_run_spec(std::string_view json);
[[nodiscard]] std::string to_json(const RunSpec& spec);

}  // namespace flops::rounds
