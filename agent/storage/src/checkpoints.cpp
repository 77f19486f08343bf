// Checkpoints: written and read whole, and trusted only when their digest is right.
#include "flops/agent_storage/storage.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::agent {

Result<Digest> Storage::write_digested(std::int64_t content, std::uint64_t bytes, const PartSource& source) {
  crypto::Sha256 digest;
  auto written = write_parts(content, bytes, [&](std::uint64_t offset, std::span<std::byte> into) {
    auto filled = source(offset, into);
    digest.update(into);
    return filled;
  });
  return written ? Result<Digest>(digest.finish()) : fail(written.error());
}

Result<> Storage::read_digested(std::int64_t content, const std::string& sha256, const PartSink& sink) {
  crypto::Sha256 digest;
  auto read = read_parts(content, [&](std::span<const std::byte> part) {
    digest.update(part);
    return sink(part);
  });
  if (read && digest.finish().hex() != sha256) {
    return fail(ErrorKind::corrupt, "it is not as it was written");
  }
  return read;
}

Result<std::optional<std::uint64_t>> Storage::content_bytes(std::string_view kind, std::string_view key) {
  auto id = content(kind, key);
  if (!id || !*id) {
    return id ? Result<std::optional<std::uint64_t>>(std::nullopt) : fail(id.error());
  }
  auto bytes = contents_.integer("SELECT bytes FROM contents WHERE id = ?", {**id});
  if (!bytes) {
    return fail(bytes.error());
  }
  return static_cast<std::uint64_t>(bytes->value_or(0));
}

Result<> Storage::put_checkpoint(const TaskId& task, std::uint64_t bytes, const PartSource& source) {
  auto id = make_content("checkpoint", task.str(), bytes);
  auto digest = id ? write_digested(*id, bytes, source) : fail(id.error());
  return digest ? contents_.run("INSERT INTO checkpoints(content, sha256) VALUES(?, ?)", {*id, digest->hex()})
                : Result<>(fail(digest.error()));
}

Result<std::optional<std::uint64_t>> Storage::checkpoint_bytes(const TaskId& task) {
  return content_bytes("checkpoint", task.str());
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
  auto read = read_digested(**id, expected->value_or(""), sink);
  return read ? read : fail(read.error(), fmt::format("the checkpoint of task {}", task));
}

Result<> Storage::drop_checkpoint(const TaskId& task) {
  return drop_content("checkpoint", task.str());
}

}  // namespace flops::agent
