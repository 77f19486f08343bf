// The life of a run, as a pure function: what happens next, given what happened.
//
//   waiting -> initialising -> fitting <-> aggregating -> evaluating -> finished
//                                  \___ any of them ___/ -> stopped | failed
//
// The machine holds no clock, socket or file. The shell feeds it events, makes the new state durable, then carries
// the actions out. Every event may come twice or late; the second time changes nothing.
//
// A device has at most one task at a time, and at most one contribution in a round. When a round closes, a task without
// an answer is cancelled, or, if the run takes late updates (max_staleness), stays open: its update then counts in a
// later round, and meanwhile its device gets no other task. In mode async every free device always has a task on the
// newest model, and a round closes with `buffer` updates, whichever they are.
//
// FedAvg: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
// FedBuff: Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "flops/core/clock.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/id.hpp"
#include "flops/rounds/run_spec.hpp"
#include "flops/wire/messages.hpp"

namespace flops::rounds {

enum class Phase { waiting, initialising, fitting, aggregating, evaluating, finished, stopped, failed };
[[nodiscard]] std::string_view to_string(Phase phase);
[[nodiscard]] bool parse_phase(std::string_view text, Phase& phase);
[[nodiscard]] constexpr bool is_over(Phase phase) {
  return phase == Phase::finished || phase == Phase::stopped || phase == Phase::failed;
}

enum class Answer {
  none,         // got the task, nothing final yet
  contributed,  // its update (or evaluation) counts
  failed,       // it said it cannot, or its update was refused
};

struct Participant {
  TaskId task;
  wire::TaskKind kind = wire::TaskKind::train;
  Answer answer = Answer::none;
  std::int64_t round = 0;  // whose task it is; smaller than the run's: the task is late
  Digest base = {};        // the model it starts from; none for the initial one
  int deadlines = 0;       // of its round that passed without its answer; not stored

  bool operator==(const Participant&) const = default;
};

// What a machine does: a whole run, or what was asked for by the level above: of a cluster (flops/rounds/tree.hpp), or
// of this coordinator by another one (flops/rounds/part_request.hpp). A part is over when that is done; it has its
// model from above, except for one that makes the first.
enum class Part { whole, initialise, rounds, evaluate };

struct RunState {
  RunId id;
  RunSpec spec;
  Part part = Part::whole;
  std::int64_t first_round = 1;  // of Part::rounds; rounds are counted through all cycles
  bool sum_goes_up = false;      // of Part::rounds with one round: its sum is not closed here
  Phase phase = Phase::waiting;
  std::string reason;                            // why it failed, stopped or waits
  std::int64_t round = 0;                        // 0 until there is an initial model
  Digest model;                                  // newest version; none before initialisation
  std::map<DeviceId, Participant> participants;  // of the current phase, and those still at late tasks
  std::int64_t wanted = 0;                       // updates this round was opened for, beyond which more are a surplus
  SteadyTime deadline{};                         // of the current phase; of a part that waits: then it fails
  std::int64_t failed_initialisations = 0;
  std::int64_t least_wanted = 0;      // whatever share of those available it is; not stored
  bool overdue = false;               // a deadline of this round has passed; not stored
  std::set<DeviceId> available;       // online and with the run's data; as last told, not stored
  std::map<DeviceId, double> losses;  // of training, as last reported, for spec.candidates; not stored
};

// Events ---------------------------------------------------------------------------------------------------------

// The devices that are online and have the run's data; sent at every change.
struct DevicesAvailable {
  std::set<DeviceId> devices;
};
struct Tick {};  // time passed
struct TaskFailed {
  DeviceId device;
  TaskId task;
  std::string reason;
};
struct Initialised {
  DeviceId device;
  TaskId task;
  Digest model;
};
// The update is durable and in the sum.
struct Contributed {
  DeviceId device;
  TaskId task;
};
struct Aggregated {
  Digest model;
};
// The coordinator itself cannot go on: storage, memory.
struct AggregationFailed {
  std::string reason;
};
struct Evaluated {
  DeviceId device;
  TaskId task;
};
struct StopRequested {};
// The model that `round` made is good enough (flops/rounds/goal.hpp): the run ends with it, or with a newer one, which
// is measured first. The round that is open is given up.
struct GoalReached {
  std::int64_t round = 0;
  std::string reason;
};
// The run is paused: open tasks are taken back. They are given again, under other names, when the run goes on; what a
// device has once been told is over it never does again.
struct TakenBack {};
// What a cluster had to hand up is in the sum of the level above.
struct HandedUp {};

using Event = std::variant<DevicesAvailable, Tick, TaskFailed, Initialised, Contributed, Aggregated, AggregationFailed,
                           Evaluated, StopRequested, GoalReached, TakenBack, HandedUp>;

// Actions --------------------------------------------------------------------------------------------------------

struct SendTask {
  DeviceId device;
  TaskId task;
  wire::TaskKind kind;
  std::int64_t round;
  bool evaluate_first;
  std::uint64_t seed;
};
struct CancelTask {
  DeviceId device;
  TaskId task;
  std::int64_t round;  // the task's
  std::string reason;
};
// Prepare an empty sum for `round` on top of the state's model.
struct OpenRound {
  std::int64_t round;
};
// Close the sum, make the new model; answered by Aggregated or AggregationFailed.
struct CloseRound {
  std::int64_t round;
};
// No more evaluations of the newest model will come.
struct EvaluationClosed {
  std::int64_t round;
};
struct RunOver {};
// A cluster's part is done: add its result to the sum of the level above, as the participant `task` there; answered by
// HandedUp. After one round that is the cluster's own sum, as it is; after several its model, with the weight of the
// last round's sum.
struct HandUp {
  TaskId task;
};

using Action = std::variant<SendTask, CancelTask, OpenRound, CloseRound, EvaluationClosed, RunOver, HandUp>;

[[nodiscard]] std::vector<Action> on_event(RunState& state, const Event& event, SteadyTime now);
// The first actions of a part, whose devices are known (`available`). A part that is left waiting begins by itself with
// the devices it needs.
[[nodiscard]] std::vector<Action> begin_part(RunState& state, SteadyTime now);
// The last round of the run or of the part; of a part that sites do their one cycle.
[[nodiscard]] inline std::int64_t last_round(const RunState& state) {
  const bool passed_on = state.part != Part::whole && state.spec.clusters.by == Grouping::By::sites;
  return state.first_round - 1 + (passed_on ? state.spec.cycles : state.spec.rounds);
}

// How many versions older than the round's model the one is that this task started from.
[[nodiscard]] inline std::int64_t staleness(const RunState& state, const Participant& participant) {
  return state.round - participant.round;
}

// After a restart: the actions that bring the outside world back to `state` (tasks are sent again, the round is opened
// again; the shell adds the stored updates itself).
[[nodiscard]] std::vector<Action> on_restart(RunState& state, SteadyTime now);

// Deterministic names and seeds: the same run, round and device always give the same.
[[nodiscard]] TaskId task_id(const RunId& run, std::string_view kind, std::int64_t round, const DeviceId& device);
// The name of the same task when it is given again after it was taken back.
[[nodiscard]] TaskId next_task_id(const TaskId& task);
// Whether it is the task of that kind, round and device, or was given again.
[[nodiscard]] bool is_task_of(const TaskId& task, const RunId& run, std::string_view kind, std::int64_t round,
                              const DeviceId& device);
[[nodiscard]] std::uint64_t task_seed(std::uint64_t run_seed, std::int64_t round, const DeviceId& device);
// `count` of `devices`, by a generator seeded from the run's seed and the round.
[[nodiscard]] std::set<DeviceId> select(const std::set<DeviceId>& devices, std::size_t count, std::uint64_t seed,
                                        std::int64_t round);

// Power-of-choice (Cho, Wang, Joshi, "Towards Understanding Biased Client Selection in Federated Learning", AISTATS
// 2022), the variant rpow-d that costs no messages: of `candidates` devices that select() would draw, at least `count`,
// the `count` with the highest loss as last reported. Without a report, or with one that is no number, a loss is
// infinite, so that every device gets its turn; ties go to who was drawn first. The paper draws in proportion to the
// devices' samples, we draw uniformly.
[[nodiscard]] std::set<DeviceId> select_by_loss(const std::set<DeviceId>& devices,
                                                const std::map<DeviceId, double>& last_losses, std::size_t candidates,
                                                std::size_t count, std::uint64_t seed, std::int64_t round);

}  // namespace flops::rounds
