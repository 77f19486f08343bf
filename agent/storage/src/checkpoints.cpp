// Checkpoints: written and read whole, and trusted only when their digest is right.
#include "flops/agent_storage/storage.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::agent {

Result<> Storage::put_checkpoint(const TaskId& task, std::uint64_t bytes, const PartSource& source) {
  if (auto dropped = drop_checkpoint(task); !dropped) {
    return dropped;
  }
  auto id = make_content("checkpoint", task.str(), bytes);
  if (!id) {
    return fail(id.error());
  }
  crypto::Sha256 digest;
  auto written = write_parts(*id, bytes, [&](std::uint64_t offset, std::span<std::byte> into) {
    auto filled = source(offset, into);
    digest.update(into);
    return filled;
  });
  return written ? db_.run("INSERT INTO checkpoints(task, bytes, sha256) VALUES(?, ?, ?)",
                           {task.str(), bytes, digest.finish().hex()})
                 : written;
}

Result<std::optional<std::uint64_t>> Storage::checkpoint_bytes(const TaskId& task) {
  auto bytes = db_.integer("SELECT bytes FROM checkpoints WHERE task = ?", {task.str()});
  if (!bytes) {
    return fail(bytes.error());
  }
  return *bytes ? std::optional(static_cast<std::uint64_t>(**bytes)) : std::nullopt;
}

Result<> Storage::read_checkpoint(const TaskId& task, const PartSink& sink) {
  auto expected = db_.text("SELECT sha256 FROM checkpoints WHERE task = ?", {task.str()});
  auto id = expected ? content("checkpoint", task.str()) : fail(expected.error());
  if (!id) {
    return fail(id.error());
  }
  if (!*id || !*expected) {
    return fail(ErrorKind::permanent, "task {} has no checkpoint", task);
  }
  crypto::Sha256 digest;
  auto read =
      db_.each("SELECT data FROM parts WHERE content = ? ORDER BY n", {**id}, [&](const store::Row& row) -> Result<> {
        digest.update(row.bytes(0));
        return sink(row.bytes(0));
      });
  if (read && digest.finish().hex() != **expected) {
    return fail(ErrorKind::corrupt, "the checkpoint of task {} is not as it was written", task);
  }
  return read;
}

Result<> Storage::drop_checkpoint(const TaskId& task) {
  auto dropped = db_.run("DELETE FROM checkpoints WHERE task = ?", {task.str()});
  return dropped ? drop_content("checkpoint", task.str()) : dropped;
}

}  // namespace flops::agent
