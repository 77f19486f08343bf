// Runs.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {
namespace {

using rounds::Phase;
using store::Row;

constexpr std::string_view run_columns =
    "id, spec, phase, reason, round, model, failed_initialisations, layout, parameters, revision, created_at, "
    "finished_at, wanted, origin, part, first_round, project, source, source_commit, manifest, paused";

Result<RunRow> read_run(const Row& row) {
  RunRow run;
  auto id = RunId::parse(row.text(0));
  auto spec = rounds::parse_run_spec(row.text(1), rounds::SpecFrom::record);
  auto model = digest_or_none(row.text(5));
  const auto part = part_or_none(row.integer(14));
  auto manifest = digest_or_none(row.text(19));
  if (!id || !spec || !model || !manifest || !part || !rounds::parse_phase(row.text(2), run.state.phase)) {
    return fail(ErrorKind::corrupt, "the record of run '{}' is not readable{}{}", row.text(0), spec ? "" : ": ",
                spec ? "" : spec.error().what);
  }
  run.state.id = *std::move(id);
  run.state.spec = *std::move(spec);
  run.state.reason = row.text(3);
  run.state.round = row.integer(4);
  run.state.model = *model;
  run.state.failed_initialisations = row.integer(6);
  run.layout = row.text(7);
  run.parameters = static_cast<std::uint64_t>(row.integer(8));
  run.revision = row.integer(9);
  run.created_at = row.integer(10);
  run.finished_at = row.integer(11);
  run.state.wanted = row.integer(12);
  run.origin = row.text(13);
  run.state.part = *part;
  run.state.first_round = row.integer(15);
  run.project = row.text(16);
  run.source = {row.text(17), row.text(18), *manifest};
  run.paused = row.integer(20) != 0;
  return run;
}

// Written by another version, say. What is over needs nobody's attention; what is not must not be taken for it.
bool is_over(const Row& row) {
  Phase phase = Phase::waiting;
  return rounds::parse_phase(row.text(2), phase) && rounds::is_over(phase);
}

}  // namespace

// What a power cut takes back, the coordinator does again with the same outcome.
Result<> Registry::step(const std::function<Result<>()>& body) {
  unsynced_ = true;
  return database_.transaction(body, store::Durability::normal);
}

Result<> Registry::sync() {
  if (!unsynced_) {
    return {};
  }
  auto synced = database_.sync();
  unsynced_ = !synced;
  return synced;
}

Result<> Registry::bump(const RunId& run) {
  return database_.run("UPDATE runs SET revision = revision + 1 WHERE id = ?", {run.str()});
}

Result<> Registry::insert_run(const rounds::RunSpec& spec, RunId& id) {
  auto last = database_.integer("SELECT COALESCE(MAX(number), 0) FROM runs");
  if (!last) {
    return fail(last.error());
  }
  const std::int64_t number = last->value_or(0) + 1;
  const std::string text = rounds::to_json(spec);
  id = RunId::parse(fmt::format("run-{}", number)).value_or(RunId());
  return database_.run("INSERT INTO runs(number, id, spec, phase, created_at) VALUES(?, ?, ?, 'waiting', ?)",
                       {number, id.str(), text, now()});
}

Result<RunId> Registry::add_run(const rounds::RunSpec& spec) {
  RunId id;
  auto added = database_.transaction([&] { return insert_run(spec, id); });
  if (!added) {
    return fail(added.error());
  }
  return id;
}

Result<> Registry::save_run(const rounds::RunState& state) {
  const auto body = [&] { return write_top(state); };
  return rounds::is_over(state.phase) ? database_.transaction(body) : step(body);
}

Result<> Registry::save_tree(const rounds::Tree& tree, const std::set<rounds::ClusterId>& changed) {
  const auto body = [&]() -> Result<> {
    for (const rounds::ClusterId& cluster : changed) {
      const auto part = tree.parts.find(cluster);
      auto written = cluster.empty()
                         ? write_top(tree.top)
                         : write_part(tree.top.id, cluster, part == tree.parts.end() ? nullptr : &part->second);
      if (!written) {
        return written;
      }
    }
    return bump(tree.top.id);
  };
  return rounds::is_over(tree.top.phase) ? database_.transaction(body) : step(body);
}

Result<> Registry::set_run_layout(const RunId& run, std::string_view layout, std::uint64_t parameters) {
  return database_.run("UPDATE runs SET layout = ?, parameters = ?, revision = revision + 1 WHERE id = ?",
                       {layout, parameters, run.str()});
}

Result<std::vector<RunRow>> Registry::runs() {
  std::vector<RunRow> rows;
  auto read = database_.each(fmt::format("SELECT {} FROM runs ORDER BY number DESC LIMIT 1000", run_columns), {},
                             [&](const Row& row) -> Result<> {
                               auto run = read_run(row);
                               if (!run) {
                                 return is_over(row) ? Result<>() : fail(run.error());
                               }
                               rows.push_back(*std::move(run));
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<std::optional<RunRow>> Registry::run(const RunId& id) {
  std::optional<RunRow> found;
  auto read = database_.each(fmt::format("SELECT {} FROM runs WHERE id = ?", run_columns), {id.str()},
                             [&](const Row& row) -> Result<> {
                               auto run = read_run(row);
                               if (!run) {
                                 return fail(run.error());
                               }
                               found = *std::move(run);
                               return {};
                             });
  if (read && found) {
    read = read_parts(*found);
  }
  if (read && found) {
    read = read_participants(*found);
  }
  if (!read) {
    return fail(read.error());
  }
  return found;
}

}  // namespace flops::registry
