// What the programs' databases say, read from copies: the programs' own files are never opened.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::faults {

struct Contribution {
  std::string run;
  std::string cluster;  // empty: of a flat run
  std::int64_t round = 0;
  std::string device;
  std::string task;
  std::string blob;
  std::int64_t bytes = 0;
  std::int64_t local_rounds = 0;
};

struct RoundRecord {
  std::string run;
  std::string cluster;  // empty: of a flat run, or a cycle
  std::int64_t round = 0;
  std::string state;
  std::string model;
};

struct HandedUp {
  std::string run;
  std::int64_t cycle = 0;
  std::string cluster;
};

struct CoordinatorLedger {
  std::vector<HandedUp> handed_up;
  std::vector<Contribution> contributions;
  std::vector<RoundRecord> rounds;
};

struct AgentTask {
  std::string id;
  std::string phase;
  bool has_result = false;
};

struct AgentLedger {
  std::vector<AgentTask> tasks;
  std::set<std::string> finished;
};

// Copies `database` with its write-ahead log into `scratch` and reads the copy, after PRAGMA integrity_check.
// corrupt when that finds anything.
[[nodiscard]] Result<CoordinatorLedger> read_coordinator(const std::filesystem::path& database,
                                                         const std::filesystem::path& scratch);
[[nodiscard]] Result<AgentLedger> read_agent(const std::filesystem::path& database,
                                             const std::filesystem::path& scratch);

}  // namespace flops::faults
