// Runs and their participants.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {
namespace {

using rounds::Phase;
using store::Row;

constexpr std::string_view run_columns =
    "id, spec, phase, reason, round, model, failed_initialisations, layout, parameters, revision, created_at, "
    "finished_at, wanted";

Result<RunRow> read_run(const Row& row) {
  RunRow run;
  auto id = RunId::parse(row.text(0));
  auto spec = rounds::parse_run_spec(row.text(1), rounds::SpecFrom::record);
  auto model = digest_or_none(row.text(5));
  if (!id || !spec || !model || !rounds::parse_phase(row.text(2), run.state.phase)) {
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

Result<RunId> Registry::add_run(const rounds::RunSpec& spec) {
  RunId id;
  const std::string text = rounds::to_json(spec);
  auto added = database_.transaction([&]() -> Result<> {
    auto last = database_.integer("SELECT COALESCE(MAX(number), 0) FROM runs");
    if (!last) {
      return fail(last.error());
    }
    const std::int64_t number = last->value_or(0) + 1;
    id = RunId::parse(fmt::format("run-{}", number)).value_or(RunId());
    return database_.run("INSERT INTO runs(number, id, spec, phase, created_at) VALUES(?, ?, ?, 'waiting', ?)",
                         {number, id.str(), text, now()});
  });
  if (!added) {
    return fail(added.error());
  }
  return id;
}

Result<> Registry::save_run(const rounds::RunState& state) {
  const auto body = [&]() -> Result<> {
    const std::string model = hex_or_empty(state.model);
    auto saved = database_.run(
        "UPDATE runs SET phase = ?, reason = ?, round = ?, model = ?, failed_initialisations = ?, "
        "revision = revision + 1, finished_at = CASE WHEN ?6 AND finished_at = 0 THEN ?7 ELSE finished_at END, "
        "wanted = ?8 WHERE id = ?9",
        {to_string(state.phase), state.reason, state.round, model, state.failed_initialisations,
         rounds::is_over(state.phase), now(), state.wanted, state.id.str()});
    if (!saved) {
      return saved;
    }
    if (auto cleared = database_.run("DELETE FROM participants WHERE run = ?", {state.id.str()}); !cleared) {
      return cleared;
    }
    for (const auto& [device, participant] : state.participants) {
      if (auto added = write_participant(state, device, participant); !added) {
        return added;
      }
    }
    return {};
  };
  return rounds::is_over(state.phase) ? database_.transaction(body) : step(body);
}

Result<> Registry::write_participant(const rounds::RunState& state, const DeviceId& device,
                                     const rounds::Participant& participant) {
  const std::string base = hex_or_empty(participant.base);
  return database_.run(
      "INSERT OR REPLACE INTO participants(run, device, task, kind, answer, round, base) VALUES(?, ?, ?, ?, ?, ?, ?)",
      {state.id.str(), device.str(), participant.task.str(), wire::to_string(participant.kind),
       static_cast<int>(participant.answer), participant.round, base});
}

Result<> Registry::save_participant(const rounds::RunState& state, const DeviceId& device) {
  return step([&]() -> Result<> {
    auto written = write_participant(state, device, state.participants.at(device));
    if (!written) {
      return written;
    }
    return database_.run("UPDATE runs SET reason = ?, revision = revision + 1 WHERE id = ?",
                         {state.reason, state.id.str()});
  });
}

Result<> Registry::set_run_layout(const RunId& run, std::string_view layout, std::uint64_t parameters) {
  return database_.run("UPDATE runs SET layout = ?, parameters = ?, revision = revision + 1 WHERE id = ?",
                       {layout, parameters, run.str()});
}

Result<> Registry::read_participants(rounds::RunState& state) {
  return database_.each(
      "SELECT device, task, kind, answer, round, base FROM participants WHERE run = ?", {state.id.str()},
      [&](const Row& row) -> Result<> {
        auto device = DeviceId::parse(row.text(0));
        auto task = TaskId::parse(row.text(1));
        auto base = digest_or_none(row.text(5));
        if (!device || !task || !base || row.integer(3) < 0 || row.integer(3) > 2) {
          return fail(ErrorKind::corrupt, "participants of run {} are not readable", state.id);
        }
        rounds::Participant participant{*task, wire::TaskKind::train, static_cast<rounds::Answer>(row.integer(3)),
                                        row.integer(4), *base};
        for (const auto kind : {wire::TaskKind::init, wire::TaskKind::train, wire::TaskKind::evaluate}) {
          if (row.text(2) == wire::to_string(kind)) {
            participant.kind = kind;
          }
        }
        state.participants.emplace(*device, participant);
        return {};
      });
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
    read = read_participants(found->state);
  }
  if (!read) {
    return fail(read.error());
  }
  return found;
}

}  // namespace flops::registry
