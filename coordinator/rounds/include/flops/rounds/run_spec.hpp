// What a user asks for when starting a run, with its defaults and ranges (docs/protocol.md, "Run specification").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flops/algorithms/spec.hpp"
#include "flops/core/error.hpp"
#include "flops/rounds/goal.hpp"
#include "flops/rounds/grouping.hpp"
#include "flops/rounds/requirements.hpp"
#include "flops/rounds/schedule.hpp"
#include "flops/wire/messages.hpp"

namespace flops::rounds {

// sync: a round asks a set of devices and waits for them. async: a round is the next `buffer` updates.
enum class Mode { sync, async };
[[nodiscard]] std::string_view to_string(Mode mode);

// Without a word about it: late updates are dropped in mode sync, and taken up to ten versions late in mode async.
inline constexpr std::int64_t async_max_staleness = 10;
// Beyond this a late update would weigh nothing (flops/aggregation/weight.hpp).
inline constexpr std::int64_t most_staleness = 1000;

// The upper level of a run with clusters: its participants are clusters, its rounds are cycles.
struct LevelSpec {
  std::int64_t min_fit = 1;        // clusters a cycle needs
  std::int64_t min_available = 1;  // clusters that must be there before the run starts
  double fraction = 1.0;           // of the available clusters that are asked
  std::int64_t max_staleness = 0;  // cycles after its own in which a cluster's result still counts
  std::int64_t deadline_seconds = 3600;
  algorithms::Spec algorithm;  // of the step from the cycle's mean

  bool operator==(const LevelSpec&) const = default;
};

struct RunSpec {
  std::string model;        // name in the zoo
  std::string data;         // data tag
  std::int64_t cycles = 1;  // global aggregations; in a flat run only a factor of the rounds
  std::int64_t rounds = 5;  // of a cycle
  std::uint64_t seed = 1;
  std::int64_t min_fit = 2;        // updates a round needs
  std::int64_t min_available = 2;  // devices that must be there before the run starts
  double fraction = 1.0;           // of the available devices that get a task
  double over_select = 0.0;        // sync: so many more, as a share of those; the round closes without the slowest
  Mode mode = Mode::sync;
  std::int64_t buffer = 0;         // async: updates that close a round
  std::int64_t max_staleness = 0;  // rounds after its own in which an update still counts
  std::int64_t deadline_seconds = 600;
  bool evaluate = true;
  std::string best_by = "accuracy";  // the metric by which a run's best model is chosen: accuracy | loss
  std::string codec = "lossless";
  wire::TrainingSpec training;
  std::int64_t candidates = 0;  // of which those with the highest loss train (power-of-choice); 0: any
  algorithms::Spec algorithm;   // of the devices, and of the step from a round's mean
  Grouping clusters;
  LevelSpec global;  // only with clusters, also when they are sites
  Schedule schedule;
  Goal goal;                  // of the models of the run itself; in a run with clusters those of its cycles
  Requirements requirements;  // of devices, also of those behind sites

  bool operator==(const RunSpec&) const = default;
};

// Whose weights the updates of devices have in sums, or what sites hand up. When a cluster's only round is handed up as
// a sum, there is one step a cycle, the top's, and so are the weights.
[[nodiscard]] const algorithms::Spec& weighing_algorithm(const RunSpec& spec);
// Late updates may count somewhere in the run's sums: then all weights have the factor of weight_in_sum. Sites make the
// sums of devices themselves.
[[nodiscard]] bool takes_late_updates(const RunSpec& spec);
// Of the devices in a round, counted through all cycles.
[[nodiscard]] double learning_rate(const RunSpec& spec, std::int64_t round);

enum class SpecFrom : std::uint8_t {
  request,  // of a new run: what devices would refuse is refused
  record,   // of a run that began when perhaps less was: its devices say what is wrong
};

// permanent: everything that is wrong, one problem a line: unknown fields, types, ranges.
[[nodiscard]] Result<RunSpec> parse_run_spec(std::string_view json, SpecFrom from = SpecFrom::request);
[[nodiscard]] std::string to_json(const RunSpec& spec);

}  // namespace flops::rounds
