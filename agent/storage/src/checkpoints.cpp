// Checkpoints: written and read whole, and trusted only when their digest is right.
#include "flops/agent_storage/storage.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::agent {

Result<> Storage::put_checkpoint(const TaskId& task, std::uint64_t bytes, const PartSource& source) {
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
  return written ? contents_.run("INSERT INTO checkpoints(content, sha256) VALUES(?, ?)", {*id, digest.finish().hex()})
                 : written;
}

Result<std::optional<std::uint64_t>> Storage::checkpoint_bytes(const TaskId& task) {
  auto id = content("checkpoint", task.str());
  if (!id || !*id) {
    return id ? Result<std::optional<std::uint64_t>>(std::nullopt) : fail(id.error());
  }
  auto bytes = contents_.integer("SELECT bytes FROM contents WHERE id = ?", {**id});
  if (!bytes) {
    return fail(bytes.error());
  }
  return static_cast<std::uint64_t>(bytes->value_or(0));
}

Result<> Storage::read_checkpoint(const TaskId& task, const PartSink& sink) {
  auto id = content("checkpoint", task.str());
  if (!id) {
    return fail(id.error());
  }
  if (!*id) {
    return fail(ErrorKind::permanent, "task {} has no checkpoint", task);
  }
  auto expected = contents_.text("SELECT sha256 FROM checkpoints WHERE content = ?", {**id});
  if (!expected) {
    return fail(expected.error());
  }
  crypto::Sha256 digest;
  auto read = read_parts(**id, [&](std::span<const std::byte> part) {
    digest.update(part);
    return sink(part);
  });
  if (read && digest.finish().hex() != expected->value_or("")) {
    return fail(ErrorKind::corrupt, "the checkpoint of task {} is not as it was written", task);
  }
  return read;
}

Result<> Storage::drop_checkpoint(const TaskId& task) {
  return drop_content("checkpoint", task.str());
}

}  // namespace flops::agent
