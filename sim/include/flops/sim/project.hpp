// What is simulated: a run as a coordinator would get it, and a fleet of virtual learners with their data and devices.
// docs/simulator.md lists every key of the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/rounds/run_spec.hpp"

namespace flops::sim {

// What the devices of the fleet are like. Times are virtual.
struct DeviceProfile {
  double samples_per_second = 1000;  // of training; evaluation is three times as fast
  double speed_spread = 0;  // of the logarithm of a device's speed: 0 all alike, 0.5 a factor of 2.7 between 2 sigma
  double up_mbit = 0;       // per second; 0: no time
  double down_mbit = 0;
  double latency_seconds = 0;  // of every message
  double dropout = 0;          // probability that a device vanishes during a task
  double away_seconds = 60;    // how long then; it goes on afterwards
  double stragglers = 0;       // share of a round's devices that are too slow for all of their epochs (Li et al., 2020)
  bool stragglers_answer = true;  // with the epochs they could do; false: they never answer
};

struct Project {
  rounds::RunSpec run;
  std::filesystem::path data;     // a folder with an IDX set, which is split; or
  std::filesystem::path parts;    // with one folder a learner, each with an IDX set
  std::string partition = "iid";  // iid, dirichlet:A, shards:K, powerlaw:K
  std::int64_t learners = 100;
  std::int64_t clusters = 0;  // over which the learners are dealt in turn; 0: a flat run
  DeviceProfile devices;
  bool central_evaluation = true;  // of every global model, on the whole test split
  std::int64_t evaluate_every = 1;
  double target_accuracy = 0;  // the central one, at which the run ends; 0: none

  // permanent: everything that is wrong with the file, one problem a line. `overrides` are "key = value" lines of TOML,
  // or "key=text".
  [[nodiscard]] static Result<Project> load(const std::filesystem::path& file,
                                            const std::vector<std::string>& overrides);
  // All keys with their defaults and what they mean, as a commented file.
  [[nodiscard]] static std::string reference();
};

}  // namespace flops::sim
