// Every control message of protocol version 1, as a value, with its JSON form. docs/protocol.md is the prose.
//
// decode() treats its input as hostile: size first, then JSON (depth 8, no duplicate surprises), then "v", then the
// type and range of each field. Unknown fields are ignored (newer peers), missing or wrong ones refused.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"

namespace flops::wire {

inline constexpr std::size_t max_message = std::size_t{64} * 1024U;
inline constexpr std::size_t max_reason = 512;
inline constexpr std::size_t max_conditions = 8;
inline constexpr double max_rate = 1e6;                 // learning rate, weight decay; devices may refuse smaller ones
inline constexpr std::int64_t max_local_rounds = 1001;  // the task's own and 1000 while offline
inline constexpr std::int64_t max_steps = std::int64_t{1} << 31U;  // of the optimiser, in all local rounds of a task
inline constexpr std::int64_t max_reconnect_window = 3600;         // seconds: no status keeps a device away for longer
inline constexpr std::size_t max_part_spec = std::size_t{16} * 1024U;
inline constexpr std::size_t max_pem = std::size_t{16} * 1024U;  // of a request or a certificate
inline constexpr std::size_t max_labels = 32;
inline constexpr std::size_t max_label_name = 64;
inline constexpr std::size_t max_label_value = 128;
inline constexpr std::size_t max_settings = 64;
inline constexpr std::size_t max_setting = 1024;                         // of one setting's value, as TOML
inline constexpr std::size_t max_report_part = std::size_t{24} * 1024U;  // bytes of text: JSON may double them
inline constexpr std::int64_t max_report_parts = 32;

// Codecs of updates. A sum is the exact one of a site's devices (docs/protocol-codec.md, "Partial sums").
inline constexpr const char* lossless_codec = "lossless";
inline constexpr const char* sum_codec = "sum";

// A blob on the wire: cut into chunks of 256 KiB (blob::chunk_size).
struct BlobRef {
  Digest sha256;
  std::uint64_t size = 0;

  bool operator==(const BlobRef&) const = default;
};

// Names the piece of work a message is about.
struct TaskRef {
  TaskId task;
  RunId run;
  std::int64_t cycle = 0;
  std::int64_t round = 0;  // 0: initial parameters

  bool operator==(const TaskRef&) const = default;
};

struct Dataset {
  std::string tag;
  std::uint64_t train_samples = 0;
  std::uint64_t test_samples = 0;

  bool operator==(const Dataset&) const = default;
};

// device -> coordinator --------------------------------------------------------------------------------------------

// A site is a cluster with a coordinator of its own; here that coordinator is one device.
enum class Role { device, cluster };

// After every connect: who is there, and what it still holds.
struct Hello {
  std::string session;  // random, one per process start
  std::string agent_version;
  std::string architecture;  // "x86_64", "aarch64"
  std::int64_t cores = 0;
  std::uint64_t memory_bytes = 0;
  std::map<std::string, std::string> labels;
  std::vector<Dataset> datasets;
  std::vector<Digest> models;  // versions held whole, usable as base of a delta
  std::vector<TaskId> tasks;   // taken and not yet receipted
  Role role = Role::device;
  // What kind of machine it is, for people; empty: not known or not said.
  std::string machine = {};         // "Raspberry Pi 4 Model B Rev 1.4"
  std::string system = {};          // "Debian GNU/Linux 12 (bookworm)"
  std::string accelerator = {};     // "NVIDIA Orin"
  std::uint64_t storage_bytes = 0;  // free for models and checkpoints; 0: not said

  bool operator==(const Hello&) const = default;
};

enum class AckStatus { accepted, declined, need_full };
struct Ack {
  TaskRef ref;
  AckStatus status = AckStatus::accepted;
  std::string reason;

  bool operator==(const Ack&) const = default;
};

struct Progress {
  TaskRef ref;
  std::string phase;  // fetching | loading | evaluating | training
  std::uint64_t done = 0;
  std::uint64_t total = 0;

  bool operator==(const Progress&) const = default;
};

// Of the devices of a site that measured a model.
struct Spread {
  double accuracy_min = 0;
  double accuracy_max = 0;
  std::int64_t devices = 1;

  bool operator==(const Spread&) const = default;
};

// Evaluation of an aggregated model on the device's test split; of a site, the mean of its devices weighted by samples.
struct Metrics {
  TaskRef ref;
  Digest model;
  std::uint64_t samples = 0;
  double loss = 0;
  double accuracy = 0;
  double seconds = 0;
  std::optional<Spread> spread = {};  // none: of one device

  bool operator==(const Metrics&) const = default;
};

// The end of a task. A failed one has a reason and no update.
struct ResultMessage {
  TaskRef ref;
  bool ok = true;
  std::string reason;
  BlobRef update;
  std::string codec = lossless_codec;
  Digest layout;
  Digest base;  // model the update is relative to; none for initial parameters
  std::uint64_t weight = 0;
  double train_loss = 0;
  double train_seconds = 0;
  std::string layout_text;        // init only: the canonical layout
  std::int64_t local_rounds = 1;  // how often the device went through the task's training, offline rounds included
  std::int64_t steps = 0;         // of the optimiser, in all of those; 0: not said

  bool operator==(const ResultMessage&) const = default;
};

struct LogLine {
  std::string level;
  std::string text;

  bool operator==(const LogLine&) const = default;
};

// Asks for a new certificate for the key that the device has.
struct Renew {
  std::string csr;  // PKCS#10, PEM

  bool operator==(const Renew&) const = default;
};

// A piece of what was asked for with ReportRequest.
struct Report {
  std::string request;
  std::int64_t part = 1;  // 1 to parts
  std::int64_t parts = 1;
  std::string text;

  bool operator==(const Report&) const = default;
};

// coordinator -> device --------------------------------------------------------------------------------------------

enum class TaskKind { init, train, evaluate };

struct TrainingSpec {
  std::int64_t epochs = 1;
  std::int64_t batch = 32;
  std::string optimizer = "sgd";
  double learning_rate = 0.05;
  double momentum = 0;
  double weight_decay = 0;
  std::string loss = "cross_entropy";
  std::int64_t steps = 0;  // batches instead of epochs; 0: epochs
  double proximal = 0;     // mu of FedProx
  // SCAFFOLD: the task's layout and models are those of flops/tensor/control_variates.hpp. For every kind of task.
  bool control_variates = false;

  bool operator==(const TrainingSpec&) const = default;
};

// A task to a site: what its coordinator has to do with its devices, as a run of its own.
struct Part {
  std::int64_t first_round = 1;  // rounds are counted through all cycles of the run above
  std::string spec = "{}";       // the run specification, as JSON

  bool operator==(const Part&) const = default;
};

struct Task {
  TaskRef ref;
  TaskKind kind = TaskKind::train;
  std::string model;  // zoo name
  std::string data;   // data tag; empty for init
  std::uint64_t seed = 0;
  std::string codec = lossless_codec;  // of the update; sum_codec: a site may send either
  std::string layout_text;             // canonical; empty for init
  Digest base;                         // model version to train from or to evaluate; none for init
  std::optional<BlobRef> base_blob;    // how to get it; none for init
  Digest base_blob_base;               // the blob is a delta against this model; none: it is complete
  TrainingSpec training;
  bool evaluate = false;              // train: first measure the base model
  std::int64_t deadline_seconds = 0;  // 0: none
  std::optional<Part> part = {};      // only for sites

  bool operator==(const Task&) const = default;
};

// The coordinator's back-pressure and the device's resume point: these chunks may be sent now.
struct Grant {
  TaskRef ref;
  Digest blob;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> chunks;  // inclusive ranges

  bool operator==(const Grant&) const = default;
};

enum class ReceiptStatus { accepted, duplicate, rejected };
// Sent only after the update is durable; the device may forget it then.
struct Receipt {
  TaskRef ref;
  Digest blob;  // none for a failed result or an evaluation
  ReceiptStatus status = ReceiptStatus::accepted;
  std::string reason;

  bool operator==(const Receipt&) const = default;
};

struct Cancel {
  TaskRef ref;
  std::string reason;

  bool operator==(const Cancel&) const = default;
};

// "Say hello again": the device is online, but its hello of this session never arrived.
struct HelloRequest {
  std::string session;  // the device's, as in its state

  bool operator==(const HelloRequest&) const = default;
};

// The answer to Renew.
struct Certificate {
  std::string certificate;  // PEM, for the device's key

  bool operator==(const Certificate&) const = default;
};

// What the operator wants of the device, beside what its own configuration says; the whole of it each time.
struct Configuration {
  std::int64_t version = 0;                     // counts up with each change; 0: nothing was ever wanted
  std::map<std::string, std::string> labels;    // added to its own, or in their place
  std::map<std::string, std::string> settings;  // keys of the agent's configuration, and their values as TOML

  bool operator==(const Configuration&) const = default;
};

// What the coordinator thinks of the device.
struct Notice {
  std::string state;   // accepted | quarantined
  std::string reason;  // for people

  bool operator==(const Notice&) const = default;
};

struct ReportRequest {
  std::string request;  // an id of the asker's
  std::string kind;     // log | diagnosis

  bool operator==(const ReportRequest&) const = default;
};

// The code that tells a device that another machine uses its certificate.
inline constexpr const char* identity_shared = "identity_shared";

// A message that could not even be attributed to a task.
struct Refused {
  std::string about;  // the topic's kind: "up/result"
  std::string code;   // see docs/protocol.md
  std::string reason;

  bool operator==(const Refused&) const = default;
};

// state topics -----------------------------------------------------------------------------------------------------

// What keeps a device or the coordinator from working as it should (docs/protocol.md, "Health").
struct Condition {
  std::string name;
  std::string text;  // what happens and what helps, for people

  bool operator==(const Condition&) const = default;
};

struct DeviceState {
  bool online = false;
  bool lost = false;  // the will
  std::string session;
  std::string agent_version;
  std::map<std::string, std::string> labels;
  std::string activity;  // idle | fetching | evaluating | training | uploading
  std::string task;
  std::string paused;                 // why training waits, for people; empty: it does not
  double load = 0;                    // 1 min
  double temperature = 0;             // degrees Celsius; 0: unknown
  std::int64_t battery_percent = -1;  // -1: none
  // To the device's disk: since the agent started, and of that from the end of a task to the end of the last one.
  std::int64_t written_bytes = 0;
  std::int64_t written_last_task = 0;
  std::vector<Condition> health = {};
  // Counts up within the session, so that a late or repeated state is known as such; 0: not said.
  std::int64_t sequence = 0;
  std::int64_t configuration = 0;          // version of the Configuration that it works with
  std::string configuration_problem = {};  // why it does not, or not wholly; empty: it does
  bool undervoltage = false;               // a Raspberry Pi whose power supply is too weak

  bool operator==(const DeviceState&) const = default;
};

struct CoordinatorStatus {
  bool online = false;
  std::string version;
  std::string role = "global";
  std::int64_t uptime_seconds = 0;
  std::int64_t runs_active = 0;
  std::int64_t devices_online = 0;
  std::vector<Condition> health = {};
  std::int64_t reconnect_window_seconds = 0;  // devices that lose the broker come back spread over this; 0: not said

  bool operator==(const CoordinatorStatus&) const = default;
};

struct RunStatus {
  RunId run;
  std::string state;
  std::int64_t cycle = 0;
  std::int64_t round = 0;
  std::int64_t rounds = 0;
  std::int64_t participants = 0;
  double loss = 0;
  double accuracy = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;

  bool operator==(const RunStatus&) const = default;
};

struct ClusterStatus {
  std::string cluster;
  RunId run;
  std::string state;
  std::string reason;
  std::int64_t cycle = 0;
  std::int64_t round = 0;
  std::int64_t participants = 0;
  double loss = 0;
  double accuracy = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;

  bool operator==(const ClusterStatus&) const = default;
};

template <class Message>
[[nodiscard]] std::string encode(const Message& message);
// permanent with a code and the reason: "not_json: ...", "version: 'v' must be 1", "field: 'weight': expected an
// integer from ...", "too_large: ...".
template <class Message>
[[nodiscard]] Result<Message> decode(std::string_view json);

[[nodiscard]] std::string_view to_string(Role role);
[[nodiscard]] std::string_view to_string(TaskKind kind);
[[nodiscard]] std::string_view to_string(AckStatus status);
[[nodiscard]] std::string_view to_string(ReceiptStatus status);

}  // namespace flops::wire
