// Runs a project with virtual learners in this process.
//
// The decisions are those of coordinator/rounds, the sums those of coordinator/aggregation, updates and models pass
// through the codecs, and learners train with models/. Only the transport (memory), the time (virtual: what a device
// and its link would take) and the processes are not the real ones. Equal projects give equal models and equal virtual
// times, whatever the number of threads and the speed of this machine; a fleet of real devices with the same names,
// data and seed gives the same model.
//
// Memory: that of one model a thread and of the updates under way; an idle learner costs its name and the places of its
// samples. Not thread-safe; uses threads of its own inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/sim/project.hpp"

namespace flops::sim {

struct Measurement {
  double loss = 0;
  double accuracy = 0;
  std::uint64_t samples = 0;
};

// One aggregation, and what its model was measured to be: a round of a flat run or of a cluster, or a cycle over
// clusters, whose participants are clusters and whose bytes are those between sites and the top.
struct RoundRecord {
  std::string cluster;         // none: the top
  std::int64_t round = 0;      // of a cluster: counted through all cycles; of the top: the cycle
  double virtual_seconds = 0;  // when it closed
  double seconds = 0;          // of this machine, since the beginning
  std::int64_t participants = 0;
  std::int64_t late = 0;     // of them: made from an older model
  std::int64_t dropped = 0;  // tasks cancelled when it closed
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  double train_loss = 0;               // mean of the participants' last epochs, by samples
  std::optional<Measurement> central;  // on the whole test split
  std::optional<Measurement> devices;  // by the participants of the next round, by samples
  double devices_min = 0;              // accuracy of the worst and the best of them
  double devices_max = 0;
  std::map<std::string, Measurement> clusters;  // of a cycle: the same by cluster
};

struct Summary {
  std::string state;  // finished, stopped (at the target), failed
  std::string reason;
  Digest model;
  std::uint64_t parameters = 0;
  std::vector<RoundRecord> rounds;          // of the top
  std::vector<RoundRecord> cluster_rounds;  // by cluster
  double virtual_seconds = 0;
  double seconds = 0;
  std::int64_t peak_rss_kb = 0;  // of this process until the end of the run
};

struct Options {
  int threads = 0;               // 0: one a core
  std::filesystem::path folder;  // for models and updates under way; empty: in memory (/dev/shm), else temporary
};

class Simulation {
 public:
  // permanent: the data cannot be read or do not fit the model, the partition is impossible.
  [[nodiscard]] static Result<Simulation> create(const Project& project, const Options& options);
  Simulation(Simulation&&) noexcept;
  ~Simulation();

  // Called after each round with its record, as far as it is known then (`devices` comes a round later).
  using OnRound = std::function<void(const RoundRecord&)>;
  // Asked between two steps: true ends the run, with what there is.
  using Interrupted = std::function<bool()>;
  // Once. An error is one of this machine or of the project; a run that fails by its rules is a summary that says so.
  [[nodiscard]] Result<Summary> run(const OnRound& on_round, const Interrupted& interrupted = {});

  // The newest model, as a safetensors file.
  [[nodiscard]] Result<> write_model(const std::filesystem::path& to) const;

  class Engine;

 private:
  explicit Simulation(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace flops::sim
