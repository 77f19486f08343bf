// The agent's two databases: <state>/agent.db, a write-ahead log for the small states of tasks, and
// <state>/contents.db, a rollback journal for long values (fetched blobs, models, updates, checkpoints, control
// variates), whose bytes so reach the disk once.
//
// Long values are kept as parts of 256 KiB, so that none is ever whole in memory.
//
// Every function is one statement or a few; the caller puts a state transition and what belongs to it into one
// transaction(). It commits contents first and states second, and contents that are dropped stay on the disk until the
// states are durable that say so: after a power cut at any moment no state misses its contents. Contents without a
// state are found by keep_only() at the next start.
//
// Errors are those of store::Database. Not thread-safe: the loop's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "flops/agent_task/task_state.hpp"
#include "flops/blob/chunks.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/store/database.hpp"
#include "flops/wire/messages.hpp"

namespace flops::agent {

enum class Damaged {
  set_aside,  // rename both files to <name>.damaged-<time> and start with empty ones
  refuse,     // corrupt: for a reader, which must not move anything
};

struct StoredModel {
  Digest digest;
  RunId run;
  std::uint64_t bytes = 0;
};

// The device's own control variate in a run (SCAFFOLD's c_i).
struct StoredVariate {
  RunId run;
  std::uint64_t bytes = 0;

  bool operator==(const StoredVariate&) const = default;
};

struct Evaluation {
  wire::Metrics metrics;
  std::int64_t at = 0;  // milliseconds since 1970, as this device's clock says
};

struct StorageOptions {
  // Bytes of the models that are kept for the next rounds, and as much again of control variates.
  std::uint64_t model_quota = 1U << 30U;
  std::string vfs;  // as in store::OpenOptions
};

class Storage {
 public:
  static constexpr std::size_t models_per_run = 2;
  static constexpr std::size_t max_models = 8;
  static constexpr std::size_t max_variates = 8;  // runs
  static constexpr std::size_t max_finished = 256;
  static constexpr std::size_t max_evaluations = 100;

  // `folder` must exist. `now`: milliseconds since 1970, for the name of a damaged file.
  [[nodiscard]] static Result<Storage> open(const std::filesystem::path& folder, Damaged damaged, std::int64_t now,
                                            const StorageOptions& options = {});
  // Where a damaged agent.db went, or the one beside a damaged contents.db, when open() set them aside.
  [[nodiscard]] const std::optional<std::filesystem::path>& set_aside() const { return set_aside_; }

  // Must not nest. `normal`: what it writes can be fetched or made again after a power cut.
  [[nodiscard]] Result<> transaction(const std::function<Result<>()>& body,
                                     store::Durability durability = store::Durability::full);
  // For quiet moments: nothing else empties the write-ahead log and removes dropped contents from the disk.
  [[nodiscard]] Result<> tidy();
  // Dropped contents wait for tidy().
  [[nodiscard]] bool untidy() const { return !doomed_.empty(); }
  // Drops the blobs, updates, checkpoints and control variates of updates that none of `open` needs.
  [[nodiscard]] Result<> keep_only(const std::vector<TaskState>& open);

  // tasks ----------------------------------------------------------------------------------------------------------
  // Writes the state. A task in `finished` leaves only its id, one in `absent` nothing.
  [[nodiscard]] Result<> put_task(const TaskState& state);
  // In order of arrival. A row that cannot be read is dropped and counted in `damaged_rows`.
  [[nodiscard]] Result<std::vector<TaskState>> tasks(std::size_t& damaged_rows);
  [[nodiscard]] Result<bool> is_finished(const TaskId& task);

  // blobs being fetched --------------------------------------------------------------------------------------------
  [[nodiscard]] Result<> put_chunk(const wire::BlobRef& blob, std::uint32_t n, std::span<const std::byte> bytes);
  // Which chunks are here; corrupt when another size is recorded for this digest.
  [[nodiscard]] Result<blob::ChunkSet> chunks(const wire::BlobRef& blob);
  [[nodiscard]] Result<> drop_blob(const Digest& blob);
  // The chunks that are here, in order.
  using ChunkSink = std::function<Result<>(std::uint32_t n, std::span<const std::byte>)>;
  [[nodiscard]] Result<> read_chunks(const Digest& blob, const ChunkSink& sink);

  // long values, read in order -------------------------------------------------------------------------------------
  using PartSink = std::function<Result<>(std::span<const std::byte>)>;
  [[nodiscard]] Result<> read_model(const Digest& model, const PartSink& sink);  // raw little-endian float32
  [[nodiscard]] Result<std::optional<std::string>> read_update_chunk(const TaskId& task, std::uint32_t n);

  // models ---------------------------------------------------------------------------------------------------------
  // Gives the bytes from `offset` on; shorter only at the end.
  using PartSource = std::function<Result<>(std::uint64_t offset, std::span<std::byte> into)>;
  // No effect when it is held. Then drops those beyond models_per_run, max_models and the quota, the least recently
  // read first, but none of `keep`.
  [[nodiscard]] Result<> put_model(const Digest& model, const RunId& run, const std::string& layout_text,
                                   std::uint64_t bytes, const PartSource& source, const std::vector<Digest>& keep);
  [[nodiscard]] Result<bool> has_model(const Digest& model);
  [[nodiscard]] Result<> drop_model(const Digest& model);
  [[nodiscard]] Result<std::vector<StoredModel>> models();  // newest first

  // outbox ---------------------------------------------------------------------------------------------------------
  [[nodiscard]] Result<> put_update(const TaskId& task, const wire::BlobRef& update, const PartSource& source);
  [[nodiscard]] Result<bool> has_update(const TaskId& task);
  [[nodiscard]] Result<> drop_update(const TaskId& task);

  // checkpoints ----------------------------------------------------------------------------------------------------
  // Replaces the task's older one.
  [[nodiscard]] Result<> put_checkpoint(const TaskId& task, std::uint64_t bytes, const PartSource& source);
  // Its size; nothing when there is none.
  [[nodiscard]] Result<std::optional<std::uint64_t>> checkpoint_bytes(const TaskId& task);
  // corrupt, perhaps after the last part, when it is not as it was written.
  [[nodiscard]] Result<> read_checkpoint(const TaskId& task, const PartSink& sink);
  [[nodiscard]] Result<> drop_checkpoint(const TaskId& task);

  // control variates -----------------------------------------------------------------------------------------------
  // The one that goes with the task's update: the run's when adopt_variate() says so. Replaces an older one.
  [[nodiscard]] Result<> put_variate(const TaskId& task, const RunId& run, std::uint64_t bytes,
                                     const PartSource& source);
  // Takes the place of the run's. No effect when there is none of this task: so once, however often. Then drops those
  // of other runs beyond max_variates and the quota, the oldest first, but none of `keep`.
  [[nodiscard]] Result<> adopt_variate(const TaskId& task, const RunId& run, const std::vector<RunId>& keep);
  [[nodiscard]] Result<> drop_variate(const TaskId& task);
  // The run's: its size; nothing when there is none.
  [[nodiscard]] Result<std::optional<std::uint64_t>> variate_bytes(const RunId& run);
  // corrupt, perhaps after the last part, when it is not as it was written.
  [[nodiscard]] Result<> read_variate(const RunId& run, const PartSink& sink);
  [[nodiscard]] Result<std::vector<StoredVariate>> variates();  // of runs, newest first

  // records --------------------------------------------------------------------------------------------------------
  [[nodiscard]] Result<> add_evaluation(const Evaluation& evaluation);             // keeps the newest max_evaluations
  [[nodiscard]] Result<std::vector<Evaluation>> evaluations(std::size_t at_most);  // newest first
  [[nodiscard]] Result<> put_datasets(const std::vector<wire::Dataset>& datasets);
  [[nodiscard]] Result<std::vector<wire::Dataset>> datasets();
  [[nodiscard]] Result<> put_meta(std::string_view key, std::string_view value);
  [[nodiscard]] Result<std::optional<std::string>> meta(std::string_view key);

  // Bytes of the files that are free for new content, beside what the disk has.
  [[nodiscard]] Result<std::uint64_t> reusable_bytes();

  [[nodiscard]] store::Database& states() { return states_; }
  [[nodiscard]] store::Database& contents() { return contents_; }
  void release_memory();

 private:
  Storage(store::Database states, store::Database contents, std::uint64_t model_quota)
      : states_(std::move(states)), contents_(std::move(contents)), model_quota_(model_quota) {}
  [[nodiscard]] Result<std::int64_t> make_content(std::string_view kind, std::string_view key, std::uint64_t bytes);
  [[nodiscard]] Result<std::optional<std::int64_t>> content(std::string_view kind, std::string_view key);
  [[nodiscard]] Result<> drop_content(std::string_view kind, std::string_view key);
  [[nodiscard]] Result<> read_parts(std::int64_t content, const PartSink& sink);
  [[nodiscard]] Result<> write_parts(std::int64_t content, std::uint64_t bytes, const PartSource& source);
  // The same, and the digest of the bytes; and when they must have that digest.
  [[nodiscard]] Result<Digest> write_digested(std::int64_t content, std::uint64_t bytes, const PartSource& source);
  [[nodiscard]] Result<> read_digested(std::int64_t content, const std::string& sha256, const PartSink& sink);
  [[nodiscard]] Result<std::optional<std::uint64_t>> content_bytes(std::string_view kind, std::string_view key);
  [[nodiscard]] Result<> evict_variates(const std::vector<RunId>& keep);
  [[nodiscard]] Result<> evict_models(const std::vector<Digest>& keep);

  store::Database states_;
  store::Database contents_;
  std::uint64_t model_quota_;
  std::set<std::int64_t> doomed_;          // contents that were dropped and are still on the disk
  std::map<Digest, std::uint64_t> reads_;  // models: which was read last, by a count
  std::uint64_t read_count_ = 0;
  std::optional<std::filesystem::path> set_aside_;
};

}  // namespace flops::agent
