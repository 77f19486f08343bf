// What is said to a site's coordinator about parts, and what it says (docs/protocol.md, "Parts"). Pure. Its answers are
// checked as if they came from anybody.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/trainer/job.hpp"

namespace flops::site {

enum class State { queued, working, finished, failed, stopped };

// Of a finished part; what its kind does not have is empty or 0.
struct PartResult {
  Digest model;
  bool sum = false;
  std::uint64_t sum_bytes = 0;
  std::uint64_t weight = 0;
  std::uint64_t steps = 0;
  double train_loss = 0;
  std::string layout;  // init: canonical text
  std::optional<trainer::Evaluation> metrics;
};

struct PartView {
  std::string key;
  std::string run;
  State state = State::queued;
  std::string reason;
  std::uint64_t round = 0;
  std::uint64_t rounds = 0;
  std::optional<PartResult> result;
};

// The request for the job's part. permanent: its specification is no JSON object, or has no number of rounds although
// rounds were done before.
[[nodiscard]] Result<std::string> part_request(const trainer::Job& job);

// permanent: the field that is wrong, and what it must be.
[[nodiscard]] Result<PartView> parse_part(std::string_view json);
// The keys in {"parts": [{"key": ...}]}.
[[nodiscard]] Result<std::vector<std::string>> parse_part_keys(std::string_view json);

// The coordinator's words in {"error": "..."} or {"error": {"message": "..."}}, on one line and not too long; of
// another text its beginning.
[[nodiscard]] std::string words_of(std::string_view body);

}  // namespace flops::site
