// One task on a device, as it is kept in the database: everything a restarted agent needs to go on.
//
//   absent -> fetching -> assembling -> ready -> running -> encoding -> offering -> uploading -> finished
//             (chunks)    (base model)  (waits)   (trainer)  (update)    (result)    (grants)     (receipt)
//
// A task whose base model is held already starts at ready. From every phase a cancel, a newer task of the same run or a
// final receipt leads to finished. Plain values; copy them freely.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/wire/messages.hpp"

namespace flops::agent {

enum class Phase {
  absent,      // not taken (any more): a task that comes again is taken as new
  fetching,    // chunks of the base model are missing
  assembling,  // all chunks are here; they are verified and decoded
  ready,       // waits for the trainer
  running,     // the trainer works on it
  encoding,    // the update is made
  offering,    // the result is said, no grant yet
  uploading,   // granted chunks are sent
  finished,    // over; the same task is never done again
};

[[nodiscard]] std::string_view to_string(Phase phase);
[[nodiscard]] Result<Phase> parse_phase(std::string_view text);  // corrupt when it is none
// What people and the device's state topic see: idle | fetching | evaluating | training | uploading.
[[nodiscard]] std::string_view activity(Phase phase, wire::TaskKind kind);

inline constexpr int max_attempts = 3;        // transient failures, damaged downloads
inline constexpr int max_interruptions = 10;  // restarts of the agent in the middle of training
inline constexpr int max_local_rounds = static_cast<int>(wire::max_local_rounds);

// What training gave; becomes the result message.
struct Outcome {
  std::uint64_t weight = 0;  // training samples
  double train_loss = 0;
  double train_seconds = 0;
  Digest layout;
  std::string layout_text;  // init only
  std::uint64_t steps = 0;  // of the optimiser; 0: not known

  bool operator==(const Outcome&) const = default;
};

// Training that went on while the device was offline.
struct Continued {
  int rounds = 0;     // local rounds done, the task's own included
  Digest parameters;  // what they gave; in the store, as a model
  Outcome outcome;    // of the last one; the seconds and steps are those of all
  bool ends = false;  // encoding: these parameters become the update. Not stored: encoding begins again after a restart

  bool operator==(const Continued&) const = default;
};

struct TaskState {
  wire::Task task;
  Phase phase = Phase::absent;
  int attempts = 0;
  int interruptions = 0;
  std::optional<wire::ResultMessage> result;  // never changes once it is there
  std::optional<wire::Metrics> metrics;       // of the base model
  bool metrics_delivered = false;             // the broker has them
  std::optional<Continued> continued;         // never for init and evaluate

  bool operator==(const TaskState&) const = default;
};

// The first invariant that does not hold, or nothing. For tests and for reading back what was stored.
[[nodiscard]] std::optional<std::string> broken_invariant(const TaskState& state);

}  // namespace flops::agent
