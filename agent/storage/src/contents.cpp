// Long values: fetched blobs, models, updates.
#include <algorithm>
#include <map>

#include "flops/agent_storage/storage.hpp"

namespace flops::agent {

Result<std::optional<std::int64_t>> Storage::content(std::string_view kind, std::string_view key) {
  auto id = contents_.integer("SELECT id FROM contents WHERE kind = ? AND key = ?", {kind, key});
  if (id && *id && doomed_.contains(**id)) {
    return std::nullopt;
  }
  return id;
}

// Takes the place of an older one with this key.
Result<std::int64_t> Storage::make_content(std::string_view kind, std::string_view key, std::uint64_t bytes) {
  if (auto gone = contents_.run("DELETE FROM contents WHERE kind = ? AND key = ?", {kind, key}); !gone) {
    return fail(gone.error());
  }
  if (auto made = contents_.run("INSERT INTO contents(kind, key, bytes) VALUES(?, ?, ?)", {kind, key, bytes}); !made) {
    return fail(made.error());
  }
  return contents_.last_row_id();
}

Result<> Storage::drop_content(std::string_view kind, std::string_view key) {
  auto id = content(kind, key);
  if (!id) {
    return fail(id.error());
  }
  if (*id) {
    doomed_.insert(**id);
  }
  return {};
}

Result<> Storage::keep_only(const std::vector<TaskState>& open) {
  std::set<std::string> wanted;
  for (const TaskState& state : open) {
    wanted.insert(state.task.ref.task.str());
    if (state.task.base_blob) {
      wanted.insert(state.task.base_blob->sha256.hex());
    }
  }
  return contents_.each(
      "SELECT id, coalesce(task, key) FROM contents LEFT JOIN variates ON content = id "
      "WHERE kind <> 'model' OR task IS NOT NULL",
      {}, [&](const store::Row& row) -> Result<> {
        if (!wanted.contains(row.text(1))) {
          doomed_.insert(row.integer(0));
        }
        return {};
      });
}

Result<> Storage::read_parts(std::int64_t content, const PartSink& sink) {
  return contents_.each("SELECT data FROM parts WHERE content = ? ORDER BY n", {content},
                        [&](const store::Row& row) { return sink(row.bytes(0)); });
}

Result<> Storage::write_parts(std::int64_t content, std::uint64_t bytes, const PartSource& source) {
  std::vector<std::byte> part;
  for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
    part.resize(blob::chunk_bytes(bytes, n));
    if (auto filled = source(std::uint64_t{n} * blob::chunk_size, part); !filled) {
      return filled;
    }
    auto written = contents_.run("INSERT INTO parts(content, n, data) VALUES(?, ?, ?)",
                                 {content, n, std::span<const std::byte>(part)});
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
  return contents_.run("INSERT OR IGNORE INTO parts(content, n, data) VALUES(?, ?, ?)", {**id, n, bytes});
}

Result<blob::ChunkSet> Storage::chunks(const wire::BlobRef& blob) {
  blob::ChunkSet set(blob::chunk_count(blob.size));
  auto id = content("blob", blob.sha256.hex());
  if (!id || !*id) {
    return id ? Result<blob::ChunkSet>(std::move(set)) : fail(id.error());
  }
  auto bytes = contents_.integer("SELECT bytes FROM contents WHERE id = ?", {**id});
  if (!bytes) {
    return fail(bytes.error());
  }
  if (static_cast<std::uint64_t>(bytes->value_or(0)) != blob.size) {
    return fail(ErrorKind::corrupt, "blob {} is recorded with {} bytes, not {}", blob.sha256.short_hex(),
                bytes->value_or(0), blob.size);
  }
  auto read = contents_.each("SELECT n FROM parts WHERE content = ?", {**id}, [&](const store::Row& row) -> Result<> {
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

Result<> Storage::read_chunks(const Digest& blob, const ChunkSink& sink) {
  auto id = content("blob", blob.hex());
  if (!id || !*id) {
    return id ? Result<>() : fail(id.error());
  }
  return contents_.each("SELECT n, data FROM parts WHERE content = ? ORDER BY n", {**id}, [&](const store::Row& row) {
    return sink(static_cast<std::uint32_t>(row.integer(0)), row.bytes(1));
  });
}

Result<> Storage::read_model(const Digest& model, const PartSink& sink) {
  auto found = content("model", model.hex());
  if (!found) {
    return fail(found.error());
  }
  if (!*found) {
    return fail(ErrorKind::permanent, "model {} is not stored", model.hex());
  }
  reads_[model] = ++read_count_;
  return read_parts(**found, sink);
}

Result<std::optional<std::string>> Storage::read_update_chunk(const TaskId& task, std::uint32_t n) {
  std::optional<std::string> found;
  auto id = content("update", task.str());
  if (!id || !*id) {
    return id ? Result<std::optional<std::string>>(std::nullopt) : fail(id.error());
  }
  auto read = contents_.each("SELECT data FROM parts WHERE content = ? AND n = ?", {**id, n},
                             [&](const store::Row& row) -> Result<> {
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
  auto id = make_content("model", model.hex(), bytes);
  if (!id) {
    return fail(id.error());
  }
  if (auto written = write_parts(*id, bytes, source); !written) {
    return written;
  }
  auto listed =
      contents_.run("INSERT INTO models(content, run, layout) VALUES(?, ?, ?)", {*id, run.str(), layout_text});
  reads_[model] = ++read_count_;
  return listed ? evict_models(keep) : listed;
}

Result<> Storage::evict_models(const std::vector<Digest>& keep) {
  auto all = models();
  if (!all) {
    return fail(all.error());
  }
  // Newest first by what was read last; those that were not read since the start follow, newest first.
  std::ranges::stable_sort(*all, std::ranges::greater(), [&](const StoredModel& model) {
    const auto read = reads_.find(model.digest);
    return read == reads_.end() ? 0 : read->second;
  });
  std::map<RunId, std::size_t> of_run;
  std::size_t kept = 0;
  std::uint64_t bytes = 0;
  for (const StoredModel& model : *all) {
    const bool wanted = std::ranges::find(keep, model.digest) != keep.end();
    const bool fits = ++of_run[model.run] <= models_per_run && kept < max_models && bytes + model.bytes <= model_quota_;
    if (wanted || fits) {
      ++kept;
      bytes += model.bytes;
    } else if (auto dropped = drop_model(model.digest); !dropped) {
      return dropped;
    }
  }
  return {};
}

Result<bool> Storage::has_model(const Digest& model) {
  auto id = content("model", model.hex());
  if (!id) {
    return fail(id.error());
  }
  return id->has_value();
}

Result<> Storage::drop_model(const Digest& model) {
  reads_.erase(model);
  return drop_content("model", model.hex());
}

Result<std::vector<StoredModel>> Storage::models() {
  std::vector<StoredModel> found;
  auto read = contents_.each("SELECT id, key, run, bytes FROM contents JOIN models ON content = id ORDER BY id DESC",
                             {}, [&](const store::Row& row) -> Result<> {
                               if (doomed_.contains(row.integer(0))) {
                                 return {};
                               }
                               auto digest = Digest::from_hex(row.text(1));
                               auto run = RunId::parse(row.text(2));
                               if (!digest || !run) {
                                 return fail(ErrorKind::corrupt, "a stored model has no valid name");
                               }
                               found.push_back({*digest, *std::move(run), static_cast<std::uint64_t>(row.integer(3))});
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return found;
}

Result<> Storage::put_update(const TaskId& task, const wire::BlobRef& update, const PartSource& source) {
  auto id = make_content("update", task.str(), update.size);
  return id ? write_parts(*id, update.size, source) : Result<>(fail(id.error()));
}

Result<bool> Storage::has_update(const TaskId& task) {
  auto id = content("update", task.str());
  if (!id) {
    return fail(id.error());
  }
  return id->has_value();
}

Result<> Storage::drop_update(const TaskId& task) {
  return drop_content("update", task.str());
}

}  // namespace flops::agent
