// The device's control variates: one a run, and one for each update that waits for its receipt.
#include <algorithm>

#include "flops/agent_storage/storage.hpp"

namespace flops::agent {
namespace {

constexpr const char* kind = "model";  // see schema.hpp

// Neither can be a model's digest.
std::string key_of(const TaskId& task) {
  return "update/" + task.str();
}
std::string key_of(const RunId& run) {
  return "variate/" + run.str();
}

}  // namespace

Result<> Storage::put_variate(const TaskId& task, const RunId& run, std::uint64_t bytes, const PartSource& source) {
  auto id = make_content(kind, key_of(task), bytes);
  auto digest = id ? write_digested(*id, bytes, source) : fail(id.error());
  return digest ? contents_.run("INSERT INTO variates(content, run, task, sha256) VALUES(?, ?, ?, ?)",
                                {*id, run.str(), task.str(), digest->hex()})
                : Result<>(fail(digest.error()));
}

// Renamed, not copied. The older one may go at once: no state names it.
Result<> Storage::adopt_variate(const TaskId& task, const RunId& run, const std::vector<RunId>& keep) {
  auto id = content(kind, key_of(task));
  if (!id || !*id) {
    return id ? Result<>() : fail(id.error());
  }
  auto done = contents_.run("DELETE FROM contents WHERE kind = ? AND key = ?", {kind, key_of(run)});
  done = done ? contents_.run("UPDATE contents SET key = ? WHERE id = ?", {key_of(run), **id}) : done;
  done = done ? contents_.run("UPDATE variates SET task = NULL WHERE content = ?", {**id}) : done;
  return done ? evict_variates(keep) : done;
}

Result<> Storage::drop_variate(const TaskId& task) {
  return drop_content(kind, key_of(task));
}

Result<std::optional<std::uint64_t>> Storage::variate_bytes(const RunId& run) {
  return content_bytes(kind, key_of(run));
}

Result<> Storage::read_variate(const RunId& run, const PartSink& sink) {
  auto id = content(kind, key_of(run));
  if (!id) {
    return fail(id.error());
  }
  if (!*id) {
    return fail(ErrorKind::permanent, "run {} has no control variate", run);
  }
  auto expected = contents_.text("SELECT sha256 FROM variates WHERE content = ?", {**id});
  if (!expected) {
    return fail(expected.error());
  }
  auto read = read_digested(**id, expected->value_or(""), sink);
  return read ? read : fail(read.error(), fmt::format("the control variate of run {}", run));
}

Result<std::vector<StoredVariate>> Storage::variates() {
  std::vector<StoredVariate> found;
  auto read = contents_.each(
      "SELECT id, run, bytes FROM contents JOIN variates ON content = id WHERE task IS NULL ORDER BY id DESC", {},
      [&](const store::Row& row) -> Result<> {
        if (doomed_.contains(row.integer(0))) {
          return {};
        }
        auto run = RunId::parse(row.text(1));
        if (!run) {
          return fail(ErrorKind::corrupt, "a stored control variate has no valid run");
        }
        found.push_back({*std::move(run), static_cast<std::uint64_t>(row.integer(2))});
        return {};
      });
  return read ? Result<std::vector<StoredVariate>>(std::move(found)) : fail(read.error());
}

// A device does not hear that a run is over. The newest are those it still works for.
Result<> Storage::evict_variates(const std::vector<RunId>& keep) {
  auto all = variates();
  if (!all) {
    return fail(all.error());
  }
  std::size_t kept = 0;
  std::uint64_t bytes = 0;
  for (const StoredVariate& variate : *all) {
    const bool wanted = std::ranges::find(keep, variate.run) != keep.end();
    if (wanted || (kept < max_variates && bytes + variate.bytes <= model_quota_)) {
      ++kept;
      bytes += variate.bytes;
    } else if (auto dropped = drop_content(kind, key_of(variate.run)); !dropped) {
      return dropped;
    }
  }
  return {};
}

}  // namespace flops::agent
