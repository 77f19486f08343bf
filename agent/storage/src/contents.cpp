// Long values: fetched blobs, models, updates.
#include <algorithm>
#include <map>

#include "flops/agent_storage/storage.hpp"

namespace flops::agent {

Result<std::optional<std::int64_t>> Storage::content(std::string_view kind, std::string_view key) {
  return db_.integer("SELECT id FROM contents WHERE kind = ? AND key = ?", {kind, key});
}

Result<std::int64_t> Storage::make_content(std::string_view kind, std::string_view key, std::uint64_t bytes) {
  if (auto made = db_.run("INSERT INTO contents(kind, key, bytes) VALUES(?, ?, ?)", {kind, key, bytes}); !made) {
    return fail(made.error());
  }
  return db_.last_row_id();
}

Result<> Storage::drop_content(std::string_view kind, std::string_view key) {
  return db_.run("DELETE FROM contents WHERE kind = ? AND key = ?", {kind, key});
}

Result<> Storage::write_parts(std::int64_t content, std::uint64_t bytes, const PartSource& source) {
  std::vector<std::byte> part;
  for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
    part.resize(blob::chunk_bytes(bytes, n));
    if (auto filled = source(std::uint64_t{n} * blob::chunk_size, part); !filled) {
      return filled;
    }
    auto written =
        db_.run("INSERT INTO parts(content, n, data) VALUES(?, ?, ?)", {content, n, std::span<const std::byte>(part)});
    if (!written) {
      return written;
    }
  }
  return {};
}

Result<> Storage::put_chunk(const wire::BlobRef& blob, std::uint32_t n, std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() != blob::chunk_bytes(blob.size, n)) {
    return fail(ErrorKind::permanent, "chunk {} of blob {} has {} bytes, not {}", n, blob.sha256.short_hex(),
                bytes.size(), blob::chunk_bytes(blob.size, n));
  }
  auto id = content("blob", blob.sha256.hex());
  if (id && !*id) {
    auto made = make_content("blob", blob.sha256.hex(), blob.size);
    id = made ? Result<std::optional<std::int64_t>>(*made) : fail(made.error());
  }
  if (!id) {
    return fail(id.error());
  }
  return db_.run("INSERT OR IGNORE INTO parts(content, n, data) VALUES(?, ?, ?)", {**id, n, bytes});
}

Result<blob::ChunkSet> Storage::chunks(const wire::BlobRef& blob) {
  blob::ChunkSet set(blob::chunk_count(blob.size));
  const std::string key = blob.sha256.hex();
  auto bytes = db_.integer("SELECT bytes FROM contents WHERE kind = 'blob' AND key = ?", {key});
  if (!bytes) {
    return fail(bytes.error());
  }
  if (*bytes && static_cast<std::uint64_t>(**bytes) != blob.size) {
    return fail(ErrorKind::corrupt, "blob {} is recorded with {} bytes, not {}", blob.sha256.short_hex(), **bytes,
                blob.size);
  }
  auto read = db_.each("SELECT n FROM parts WHERE content = (SELECT id FROM contents WHERE kind = 'blob' AND key = ?)",
                       {key}, [&](const store::Row& row) -> Result<> {
                         set.add(static_cast<std::uint32_t>(row.integer(0)));
                         return {};
                       });
  if (!read) {
    return fail(read.error());
  }
  return set;
}

Result<> Storage::drop_blob(const Digest& blob) {
  return drop_content("blob", blob.hex());
}

Result<> Storage::drop_blobs_except(const std::vector<Digest>& wanted) {
  std::vector<std::string> unwanted;
  auto read = db_.each("SELECT key FROM contents WHERE kind = 'blob'", {}, [&](const store::Row& row) -> Result<> {
    const std::string key = row.text(0);
    if (std::ranges::none_of(wanted, [&](const Digest& digest) { return digest.hex() == key; })) {
      unwanted.push_back(key);
    }
    return {};
  });
  for (const std::string& key : unwanted) {
    read = read ? drop_content("blob", key) : read;
  }
  return read;
}

Result<> Storage::read_chunks(const Digest& blob, const ChunkSink& sink) {
  return db_.each(
      "SELECT n, data FROM parts WHERE content = (SELECT id FROM contents WHERE kind = 'blob' AND key = ?) ORDER BY n",
      {blob.hex()},
      [&](const store::Row& row) { return sink(static_cast<std::uint32_t>(row.integer(0)), row.bytes(1)); });
}

Result<> Storage::read_model(const Digest& model, const PartSink& sink) {
  const std::string key = model.hex();
  auto found = content("model", key);
  if (!found) {
    return fail(found.error());
  }
  if (!*found) {
    return fail(ErrorKind::permanent, "model {} is not stored", key);
  }
  return db_.each("SELECT data FROM parts WHERE content = ? ORDER BY n", {**found},
                  [&](const store::Row& row) { return sink(row.bytes(0)); });
}

Result<std::optional<std::string>> Storage::read_update_chunk(const TaskId& task, std::uint32_t n) {
  std::optional<std::string> found;
  auto read = db_.each(
      "SELECT data FROM parts WHERE n = ? AND content = (SELECT id FROM contents WHERE kind = 'update' AND key = ?)",
      {n, task.str()}, [&](const store::Row& row) -> Result<> {
        const auto bytes = row.bytes(0);
        found.emplace(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<> Storage::put_model(const Digest& model, const RunId& run, const std::string& layout_text, std::uint64_t bytes,
                            const PartSource& source, const std::vector<Digest>& keep) {
  auto held = has_model(model);
  if (!held) {
    return fail(held.error());
  }
  if (*held) {
    return {};
  }
  const std::string key = model.hex();
  auto id = make_content("model", key, bytes);
  if (!id) {
    return fail(id.error());
  }
  if (auto written = write_parts(*id, bytes, source); !written) {
    return written;
  }
  auto listed = db_.run("INSERT INTO models(digest, run, layout, bytes) VALUES(?, ?, ?, ?)",
                        {key, run.str(), layout_text, bytes});
  return listed ? evict_models(keep) : listed;
}

Result<> Storage::evict_models(const std::vector<Digest>& keep) {
  auto all = models();
  if (!all) {
    return fail(all.error());
  }
  std::map<RunId, std::size_t> of_run;
  std::size_t kept = 0;
  for (const StoredModel& model : *all) {
    const bool wanted = std::ranges::find(keep, model.digest) != keep.end();
    if (wanted || (++of_run[model.run] <= models_per_run && kept < max_models)) {
      ++kept;
    } else if (auto dropped = drop_model(model.digest); !dropped) {
      return dropped;
    }
  }
  return {};
}

Result<bool> Storage::has_model(const Digest& model) {
  auto row = db_.integer("SELECT 1 FROM models WHERE digest = ?", {model.hex()});
  if (!row) {
    return fail(row.error());
  }
  return row->has_value();
}

Result<> Storage::drop_model(const Digest& model) {
  const std::string key = model.hex();
  auto listed = db_.run("DELETE FROM models WHERE digest = ?", {key});
  return listed ? drop_content("model", key) : listed;
}

Result<std::vector<StoredModel>> Storage::models() {
  std::vector<StoredModel> found;
  auto read =
      db_.each("SELECT digest, run, bytes FROM models ORDER BY seq DESC", {}, [&](const store::Row& row) -> Result<> {
        auto digest = Digest::from_hex(row.text(0));
        auto run = RunId::parse(row.text(1));
        if (!digest || !run) {
          return fail(ErrorKind::corrupt, "a stored model has no valid name");
        }
        found.push_back({*digest, *std::move(run), static_cast<std::uint64_t>(row.integer(2))});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<> Storage::put_update(const TaskId& task, const wire::BlobRef& update, const PartSource& source) {
  if (auto dropped = drop_update(task); !dropped) {
    return dropped;
  }
  auto id = make_content("update", task.str(), update.size);
  return id ? write_parts(*id, update.size, source) : Result<>(fail(id.error()));
}

Result<> Storage::drop_update(const TaskId& task) {
  return drop_content("update", task.str());
}

}  // namespace flops::agent
