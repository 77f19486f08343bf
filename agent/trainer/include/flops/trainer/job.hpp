// What the agent asks of its worker, and what that answers: plain values and their JSON form. The worker is
// flops-trainer, or at the uplink of a site flops-site, which has the site's coordinator do the job.
//
// Transport: a SOCK_SEQPACKET socketpair, one JSON document a packet of at most 128 KiB; file descriptors travel beside
// the job (SCM_RIGHTS). Parameters are never copied through the socket: `parameters` is a memfd that holds the base
// model as little-endian float32 in layout order; the trainer maps it and writes the trained parameters into `result`,
// a memfd of the same size. For `init` only `result` is used, and it is sized by the trainer.
//
// Descriptors beside a job: init [result], evaluate [parameters], train [parameters, result, checkpoint], and with
// control variates also [variates].
//
// Control variates (flops/tensor/control_variates.hpp): `parameters` and `result` hold [x, c]; the model is the first
// half. `variates` is a memfd as large: the device's own variate, and behind it room for the trainer to write the new
// one. The first half is never written, so a job that is done again gives the same.
//
// Checkpoints: `checkpoint` is a memfd that the trainer sizes, with room for two. While it trains it writes one now and
// then, says where it lies, and leaves it alone until the agent answers `kept`; so one whole checkpoint is there at any
// instant. After the trainer's death the same descriptor with `resume` lets the next worker go on from it.
//
// Parts: a job with `part` is for flops-site. Descriptors for train: [parameters, result], and when the sum is asked
// for [parameters, result, sum]; `sum` is sized by the worker, to the bytes that its report names, 0 when there is
// none.
//
// Both sides treat what they read as hostile: unknown, missing or ill-typed fields and values out of range are refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"

namespace flops::trainer {

inline constexpr std::size_t max_packet = std::size_t{128} * 1024U;

enum class JobKind {
  init,      // make the model's initial parameters from the seed
  train,     // train from the base model; with evaluate_first also measure the base model on the test split
  evaluate,  // measure the base model on the test split
};

// Files of one data tag. Only IDX (the MNIST format) today.
struct DatasetFiles {
  std::string tag;
  std::string format = "idx";
  std::filesystem::path train_samples;
  std::filesystem::path train_labels;
  std::filesystem::path test_samples;
  std::filesystem::path test_labels;
};

struct Training {
  std::int64_t epochs = 1;
  std::int64_t batch = 32;
  std::string optimizer = "sgd";  // sgd | adam
  double learning_rate = 0.05;
  double momentum = 0.0;
  double weight_decay = 0.0;
  std::string loss = "cross_entropy";  // cross_entropy | mse; also what evaluate_first reports
  std::int64_t steps = 0;              // batches instead of epochs; 0: epochs
  double proximal = 0.0;               // mu of FedProx

  bool operator==(const Training&) const = default;
};

// Where one lies in the checkpoint's memory.
struct Place {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;

  bool operator==(const Place&) const = default;
};

// When the trainer writes a checkpoint: after so many batches or so much time, whichever comes first; 0: not for that.
struct CheckpointPolicy {
  std::int64_t batches = 0;
  double seconds = 0;

  bool operator==(const CheckpointPolicy&) const = default;
};

inline constexpr std::size_t max_part_spec = std::size_t{16} * 1024U;  // bytes
inline constexpr std::size_t max_part_layout = std::size_t{48} * 1024U;
inline constexpr std::size_t max_needed_parts = 64;

// What a site's coordinator has to do (docs/protocol.md, "Sites").
struct Part {
  std::string key;  // an id: the same key, the same part, and so the same answer
  std::int64_t first_round = 1;
  std::int64_t local_round = 0;     // how often the site went through `spec` before, without a link: rounds go on
  std::string spec;                 // run specification, JSON
  Digest base;                      // the model in `parameters`; not for init
  std::string layout;               // canonical text of the job's layout; not for init
  bool sum = false;                 // the exact sum is welcome beside the model
  std::vector<std::string> needed;  // other parts that will be asked for again; what else the site holds it may forget

  bool operator==(const Part&) const = default;
};

struct Job {
  JobKind kind = JobKind::train;
  std::string model;              // name in the zoo: "cnn-small"
  Digest layout;                  // the layout the parameters are in; checked against the model's own. Not for init.
  std::uint64_t seed = 0;         // of shuffling and dropout (train) or of the parameters (init)
  DatasetFiles dataset;           // not for init
  Training training;              // train only
  bool control_variates = false;  // `layout` is that of the model and its variates
  bool evaluate_first = false;
  std::int64_t evaluate_batch = 500;
  CheckpointPolicy checkpoints;  // train only
  std::optional<Place> resume;   // train only: a checkpoint to go on from; one that does not fit is ignored
  std::optional<Part> part;  // then `dataset`, `training`, `evaluate_batch`, `checkpoints` and `resume` do not count
};

// Of the devices that measured, when they are several.
struct Spread {
  double accuracy_min = 0;  // 0 to 1
  double accuracy_max = 0;
  std::int64_t devices = 1;

  bool operator==(const Spread&) const = default;
};

struct Evaluation {
  double loss = 0;
  double accuracy = 0;  // 0 to 1: share of samples whose largest output is the label's
  std::uint64_t samples = 0;
  double seconds = 0;
  std::optional<Spread> spread = {};  // of a site
};

struct JobReport {
  std::optional<Evaluation> evaluation;  // of the base model
  // train
  std::uint64_t samples = 0;     // in the train split: the update's weight
  double train_loss = 0;         // mean over the last epoch
  double train_seconds = 0;      // in all workers
  std::uint64_t resumed_at = 0;  // batches that came with a checkpoint
  std::uint64_t steps = 0;       // of the optimiser, those before a checkpoint included
  // init
  std::string layout;  // canonical text
  // train with a part
  std::uint64_t sum_bytes = 0;  // of the exact sum in `sum`; 0: none
};

struct Progress {
  std::string phase;  // loading | evaluating | training; of a site also queued | unreachable
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // batches; of a site rounds
};

// A whole checkpoint, written but for this note.
struct CheckpointNote {
  Place place;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // batches
};

[[nodiscard]] std::string_view to_string(JobKind kind);
// Only what the kind needs is written, and expected by parse_job: `layout` and `dataset` not for init, `training` and
// `evaluate_first`, `checkpoints` and `resume` only for train, `evaluate_batch` not for init; with a part only `layout`
// and `evaluate_first` of these.
[[nodiscard]] std::string to_json(const Job& job);
// permanent, with the field and what it must be.
[[nodiscard]] Result<Job> parse_job(std::string_view json);

// trainer -> agent. Exactly one of the members is set. `evaluation` is sent as soon as it is known, before training.
struct Answer {
  std::optional<Progress> progress;
  std::optional<Evaluation> evaluation;
  std::optional<CheckpointNote> checkpoint;
  std::optional<JobReport> report;
  std::optional<Error> error;
};
[[nodiscard]] std::string to_json(const Answer& answer);
[[nodiscard]] Result<Answer> parse_answer(std::string_view json);

// agent -> trainer, besides a job.
enum class Control {
  cancel,   // ends the job at the next batch with an error `cancelled`
  suspend,  // the same, after a checkpoint when it trains: the job will be given again
  kept,     // the checkpoint that was noted is not needed any more in its place
};
[[nodiscard]] std::string to_json(Control control);
// Nothing when the text is something else.
[[nodiscard]] std::optional<Control> parse_control(std::string_view json);

// One packet with at most four descriptors. Both: transient when the (non-blocking) socket would block; cancelled when
// the peer closed. permanent: empty or larger than max_packet, or more than four descriptors (those received
// are closed).
inline constexpr std::size_t max_descriptors = 4;
struct Packet {
  std::string text;
  std::vector<Fd> descriptors;
};
[[nodiscard]] Result<> send_packet(int socket, std::string_view text, const std::vector<int>& descriptors = {});
[[nodiscard]] Result<Packet> receive_packet(int socket);

// An anonymous file for parameters, zeroed. Its size is sealed; with 0 bytes it is left open, for a trainer to size
// (init). resource: no memory or descriptors left.
[[nodiscard]] Result<Fd> make_memfd(const char* name, std::uint64_t bytes);

}  // namespace flops::trainer
