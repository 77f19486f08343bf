// Parts of another coordinator's runs.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using store::Row;

namespace {

// Of every run that was asked for here, and of every part that is known.
constexpr std::string_view find_need =
    "SELECT 1 FROM runs LEFT JOIN asked_parts AS part ON part.run = runs.id AND part.forgotten = 0 "
    "WHERE (runs.origin = '' OR part.run IS NOT NULL) AND (runs.model = ?1 OR part.base = ?1 OR "
    "EXISTS(SELECT 1 FROM rounds WHERE rounds.run = runs.id AND rounds.model = ?1) OR "
    "EXISTS(SELECT 1 FROM handed_up WHERE handed_up.run = runs.id AND (handed_up.model = ?1 OR handed_up.base = ?1)) "
    "OR EXISTS(SELECT 1 FROM models WHERE models.run = runs.id AND models.digest = ?1)) LIMIT 1";

}  // namespace

Result<RunId> Registry::add_part(const rounds::PartRequest& request, std::string_view layout,
                                 std::uint64_t parameters) {
  const rounds::RunState state = rounds::part_state(request);
  const std::string base = hex_or_empty(request.base);
  RunId id;
  const auto body = [&]() -> Result<> {
    if (auto inserted = insert_run(request.spec, id); !inserted) {
      return inserted;
    }
    auto written = database_.run(
        "UPDATE runs SET origin = ?, part = ?, first_round = ?, round = ?, model = ?, layout = ?, parameters = ? "
        "WHERE id = ?",
        {request.key.str(), static_cast<int>(state.part), state.first_round, state.round, base, layout, parameters,
         id.str()});
    if (!written) {
      return written;
    }
    // What devices measure of the base belongs to the round that made it.
    const std::int64_t before = request.kind == rounds::Part::evaluate ? state.round : state.first_round - 1;
    if (!base.empty() && before > 0) {
      written = database_.run(
          "INSERT INTO rounds(run, cluster, round, state, model, opened_at) VALUES(?, '', ?, 'done', ?, ?)",
          {id.str(), before, base, now()});
    }
    return written ? database_.run("INSERT INTO asked_parts(run, key, base, sum) VALUES(?, ?, ?, ?)",
                                   {id.str(), request.key.str(), base, request.sum})
                   : written;
  };
  if (auto added = database_.transaction(body); !added) {
    return fail(added.error());
  }
  return id;
}

Result<std::vector<AskedPart>> Registry::asked_parts(const std::optional<TaskId>& only) {
  std::vector<AskedPart> parts;
  const std::string key = only ? only->str() : std::string();
  auto read = database_.each(
      "SELECT key, run, base, sum FROM asked_parts WHERE forgotten = 0 AND (?1 = '' OR key = ?1) ORDER BY key", {key},
      [&](const Row& row) -> Result<> {
        auto found = TaskId::parse(row.text(0));
        auto run = RunId::parse(row.text(1));
        auto base = digest_or_none(row.text(2));
        if (!found || !run || !base) {
          return fail(ErrorKind::corrupt, "the record of part '{}' is not readable", row.text(0));
        }
        parts.push_back({*std::move(found), *std::move(run), *base, row.integer(3) != 0});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return parts;
}

Result<> Registry::forget_part(const RunId& run) {
  return database_.run("UPDATE asked_parts SET forgotten = 1 WHERE run = ?", {run.str()});
}

Result<std::vector<RunId>> Registry::forgotten_parts() {
  std::vector<RunId> runs;
  auto read = database_.each("SELECT run FROM asked_parts WHERE forgotten = 1", {}, [&](const Row& row) -> Result<> {
    auto run = RunId::parse(row.text(0));
    if (!run) {
      return fail(ErrorKind::corrupt, "the record of a forgotten part is not readable");
    }
    runs.push_back(*std::move(run));
    return {};
  });
  if (!read) {
    return fail(read.error());
  }
  return runs;
}

Result<std::vector<Digest>> Registry::models_to_remove(const RunId& forgotten) {
  std::vector<Digest> models;
  auto read = database_.each(
      "SELECT base FROM asked_parts WHERE run = ?1 AND forgotten = 1 UNION SELECT model FROM runs WHERE id = ?1 UNION "
      "SELECT model FROM rounds WHERE run = ?1 UNION SELECT digest FROM models WHERE run = ?1",
      {forgotten.str()}, [&](const Row& row) -> Result<> {
        auto model = digest_or_none(row.text(0));
        if (!model) {
          return fail(ErrorKind::corrupt, "the models of run {} are not readable", forgotten);
        }
        if (!model->empty()) {
          models.push_back(*model);
        }
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  std::vector<Digest> superfluous;
  for (const Digest& model : models) {
    auto needed = needs_model(model);
    if (!needed) {
      return fail(needed.error());
    }
    if (!*needed) {
      superfluous.push_back(model);
    }
  }
  return superfluous;
}

Result<bool> Registry::needs_model(const Digest& model) {
  const std::string hex = model.hex();
  auto found = database_.integer(find_need, {hex});
  if (!found) {
    return fail(found.error());
  }
  return found->has_value();
}

Result<> Registry::remove_part(const RunId& forgotten, const std::vector<Digest>& models) {
  return database_.transaction([&]() -> Result<> {
    for (const Digest& model : models) {
      const std::string hex = model.hex();
      if (auto removed = database_.run("DELETE FROM models WHERE digest = ?", {hex}); !removed) {
        return removed;
      }
    }
    return database_.run("DELETE FROM asked_parts WHERE run = ? AND forgotten = 1", {forgotten.str()});
  });
}

}  // namespace flops::registry
