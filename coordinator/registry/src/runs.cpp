// Runs, rounds, contributions, metrics, models.
#include "flops/registry/registry.hpp"

namespace flops::registry {
namespace {

using rounds::Phase;
using store::Row;

constexpr std::string_view run_columns =
    "id, spec, phase, reason, round, model, failed_initialisations, layout, parameters, revision, created_at, "
    "finished_at";

Result<Digest> digest_or_none(const std::string& hex) {
  if (hex.empty()) {
    return Digest();
  }
  return Digest::from_hex(hex);
}

std::string hex_or_empty(const Digest& digest) {
  return digest.empty() ? std::string() : digest.hex();
}

Result<RunRow> read_run(const Row& row) {
  RunRow run;
  auto id = RunId::parse(row.text(0));
  auto spec = rounds::parse_run_spec(row.text(1));
  auto model = digest_or_none(row.text(5));
  if (!id || !spec || !model || !rounds::parse_phase(row.text(2), run.state.phase)) {
    return fail(ErrorKind::corrupt, "the record of run '{}' is not readable", row.text(0));
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
  return run;
}

std::optional<double> optional_number(const Row& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(row.number(column));
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
        "revision = revision + 1, finished_at = CASE WHEN ?6 AND finished_at = 0 THEN ?7 ELSE finished_at END "
        "WHERE id = ?8",
        {to_string(state.phase), state.reason, state.round, model, state.failed_initialisations,
         rounds::is_over(state.phase), now(), state.id.str()});
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
  return database_.run("INSERT OR REPLACE INTO participants(run, device, task, kind, answer) VALUES(?, ?, ?, ?, ?)",
                       {state.id.str(), device.str(), participant.task.str(), wire::to_string(participant.kind),
                        static_cast<int>(participant.answer)});
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
      "SELECT device, task, kind, answer FROM participants WHERE run = ?", {state.id.str()},
      [&](const Row& row) -> Result<> {
        auto device = DeviceId::parse(row.text(0));
        auto task = TaskId::parse(row.text(1));
        if (!device || !task || row.integer(3) < 0 || row.integer(3) > 2) {
          return fail(ErrorKind::corrupt, "participants of run {} are not readable", state.id);
        }
        rounds::Participant participant{*task, wire::TaskKind::train, static_cast<rounds::Answer>(row.integer(3))};
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
                                 return fail(run.error());
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

Result<> Registry::open_round(const RunId& run, std::int64_t round) {
  return step([&]() -> Result<> {
    auto added = database_.run(
        "INSERT INTO rounds(run, round, state, opened_at) VALUES(?, ?, 'fitting', ?) ON CONFLICT DO NOTHING",
        {run.str(), round, now()});
    return added ? bump(run) : added;
  });
}

Result<> Registry::close_round(const RunId& run, std::int64_t round, double seconds, const ModelRow& model) {
  return database_.transaction([&]() -> Result<> {
    const std::string hex = model.digest.hex();
    auto closed =
        database_.run("UPDATE rounds SET state = 'evaluating', seconds = ?, model = ? WHERE run = ? AND round = ?",
                      {seconds, hex, run.str(), round});
    if (!closed) {
      return closed;
    }
    if (auto added = add_model(model); !added) {
      return added;
    }
    return bump(run);
  });
}

Result<> Registry::set_round_state(const RunId& run, std::int64_t round, std::string_view state) {
  return step([&]() -> Result<> {
    auto set = database_.run("UPDATE rounds SET state = ? WHERE run = ? AND round = ?", {state, run.str(), round});
    return set ? bump(run) : set;
  });
}

Result<> Registry::count_rejected(const RunId& run, std::int64_t round) {
  return step([&] {
    return database_.run("UPDATE rounds SET rejected = rejected + 1 WHERE run = ? AND round = ?", {run.str(), round});
  });
}

Result<> Registry::count_download(const RunId& run, std::int64_t round, std::uint64_t bytes) {
  return step([&] {
    return database_.run("UPDATE rounds SET bytes_down = bytes_down + ? WHERE run = ? AND round = ?",
                         {bytes, run.str(), round});
  });
}

Result<std::vector<RoundRow>> Registry::rounds_of(const RunId& run) {
  std::vector<RoundRow> rows;
  auto read = database_.each(
      "SELECT r.round, r.state, r.rejected, r.bytes_down, r.seconds, r.model, c.n, c.bytes, c.slowest, c.loss, "
      "m.samples, m.accuracy, m.loss, m.low, m.high FROM rounds r "
      "LEFT JOIN (SELECT round, COUNT(*) n, SUM(bytes) bytes, MAX(train_seconds) slowest, "
      "  SUM(train_loss * weight) / SUM(weight) loss FROM contributions WHERE run = ?1 GROUP BY round) c "
      "  ON c.round = r.round "
      "LEFT JOIN (SELECT round, SUM(samples) samples, SUM(accuracy * samples) / SUM(samples) accuracy, "
      "  SUM(loss * samples) / SUM(samples) loss, MIN(accuracy) low, MAX(accuracy) high FROM metrics WHERE run = ?1 "
      "  GROUP BY round) m ON m.round = r.round "
      "WHERE r.run = ?1 ORDER BY r.round",
      {run.str()}, [&](const Row& row) -> Result<> {
        auto model = digest_or_none(row.text(5));
        if (!model) {
          return fail(ErrorKind::corrupt, "rounds of run {} are not readable", run);
        }
        RoundRow round;
        round.round = row.integer(0);
        round.state = row.text(1);
        round.rejected = row.integer(2);
        round.bytes_down = static_cast<std::uint64_t>(row.integer(3));
        round.seconds = row.number(4);
        round.model = *model;
        round.participants = row.integer(6);
        round.bytes_up = static_cast<std::uint64_t>(row.integer(7));
        round.train_seconds_max = row.number(8);
        round.train_loss = optional_number(row, 9);
        round.evaluated_samples = static_cast<std::uint64_t>(row.integer(10));
        round.accuracy = optional_number(row, 11);
        round.loss = optional_number(row, 12);
        round.accuracy_min = optional_number(row, 13);
        round.accuracy_max = optional_number(row, 14);
        rows.push_back(std::move(round));
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<bool> Registry::add_contribution(const RunId& run, std::int64_t round, const ContributionRow& row) {
  bool added = false;
  const std::string blob = row.blob.hex();
  auto done = step([&]() -> Result<> {
    auto inserted = database_.run(
        "INSERT INTO contributions(run, round, device, task, blob, bytes, weight, train_loss, train_seconds, at) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        {run.str(), round, row.device.str(), row.task.str(), blob, row.bytes, row.weight, row.train_loss,
         row.train_seconds, now()});
    if (!inserted) {
      return inserted;
    }
    added = database_.changes() == 1;
    // Together, so that after a crash it cannot be asked for again and counted twice.
    auto answered =
        database_.run("UPDATE participants SET answer = ? WHERE run = ? AND device = ? AND task = ?",
                      {static_cast<int>(rounds::Answer::contributed), run.str(), row.device.str(), row.task.str()});
    return answered ? bump(run) : answered;
  });
  if (!done) {
    return fail(done.error());
  }
  return added;
}

Result<std::vector<ContributionRow>> Registry::contributions(const RunId& run, std::int64_t round) {
  std::vector<ContributionRow> rows;
  auto read = database_.each(
      "SELECT device, task, blob, bytes, weight, train_loss, train_seconds FROM contributions WHERE run = ? AND "
      "round = ? ORDER BY device",
      {run.str(), round}, [&](const Row& row) -> Result<> {
        auto device = DeviceId::parse(row.text(0));
        auto task = TaskId::parse(row.text(1));
        auto blob = Digest::from_hex(row.text(2));
        if (!device || !task || !blob) {
          return fail(ErrorKind::corrupt, "contributions of run {} are not readable", run);
        }
        rows.push_back({*device, *task, *blob, static_cast<std::uint64_t>(row.integer(3)),
                        static_cast<std::uint32_t>(row.integer(4)), row.number(5), row.number(6)});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<> Registry::save_metrics(const RunId& run, std::int64_t round, const DeviceId& device,
                                const wire::Metrics& metrics) {
  return step([&]() -> Result<> {
    auto saved = database_.run(
        "INSERT INTO metrics(run, round, device, samples, loss, accuracy, seconds, at) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(run, round, device) DO UPDATE SET samples = ?4, "
        "loss = ?5, accuracy = ?6, seconds = ?7, at = ?8",
        {run.str(), round, device.str(), metrics.samples, metrics.loss, metrics.accuracy, metrics.seconds, now()});
    return saved ? bump(run) : saved;
  });
}

Result<> Registry::add_model(const ModelRow& model) {
  const std::string digest = model.digest.hex();
  const std::string layout = model.layout.hex();
  return database_.run(
      "INSERT INTO models(digest, run, round, layout, parameters, bytes, created_at) VALUES(?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT(digest) DO NOTHING",
      {digest, model.run.str(), model.round, layout, model.parameters, model.bytes, now()});
}

Result<std::vector<ModelRow>> Registry::models() {
  std::vector<ModelRow> rows;
  auto read = database_.each(
      "SELECT digest, run, round, layout, parameters, bytes, created_at FROM models ORDER BY created_at DESC, round "
      "DESC "
      "LIMIT 1000",
      {}, [&](const Row& row) -> Result<> {
        auto digest = Digest::from_hex(row.text(0));
        auto run = RunId::parse(row.text(1));
        auto layout = Digest::from_hex(row.text(3));
        if (!digest || !run || !layout) {
          return fail(ErrorKind::corrupt, "the record of model '{}' is not readable", row.text(0));
        }
        rows.push_back({*digest, *run, row.integer(2), *layout, static_cast<std::uint64_t>(row.integer(4)),
                        static_cast<std::uint64_t>(row.integer(5)), row.integer(6)});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

}  // namespace flops::registry
