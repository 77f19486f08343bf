// Looks at everything a device needs to take part, as it is now, and says what is wrong and what helps: for the owner
// of the device (flops-agent doctor) and for the operator (flopsctl device run-diag). Changes nothing, takes no session
// over, and works while the agent runs. Blocking, for about a minute at most when nothing answers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "flops/agent_config/config.hpp"

namespace flops::agent {

struct Finding {
  enum class Verdict : std::uint8_t {
    good,
    note,     // works, but could be better, or may end
    problem,  // keeps the device from taking part
  };
  std::string subject;  // "clock", "broker", "data set mnist"
  Verdict verdict = Verdict::good;
  std::string text;    // what is the case, with figures
  std::string advice;  // what to do; empty when there is nothing to do
};

// `newest_time_seen`: as health::judge_clock() takes it.
[[nodiscard]] std::vector<Finding> examine(const Config& config, std::int64_t newest_time_seen);
// The same of the data sets alone.
[[nodiscard]] std::vector<Finding> examine_datasets(const Config& config);
[[nodiscard]] bool has_problem(const std::vector<Finding>& findings);
// A line each, and one for the advice.
[[nodiscard]] std::string to_text(const std::vector<Finding>& findings);
// {"findings": [{"subject", "verdict", "text", "advice"}]}
[[nodiscard]] std::string to_json(const std::vector<Finding>& findings);

}  // namespace flops::agent
