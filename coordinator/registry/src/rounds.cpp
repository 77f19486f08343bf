// Rounds and the contributions of devices.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using store::Row;

namespace {

std::optional<double> optional_number(const Row& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(row.number(column));
}

// The whole statement; `of`: which rows of each table.
std::string rounds_statement(std::string_view of) {
  return fmt::format(
      "SELECT r.round, r.state, r.rejected, r.bytes_down, r.seconds, r.model, COALESCE(c.n, h.n), c.bytes, c.slowest, "
      "c.loss, m.samples, m.accuracy, m.loss, m.low, m.high, r.dropped, COALESCE(c.late, h.late), c.local, r.cluster, "
      "COALESCE(m.devices, 0) "
      "FROM (SELECT * FROM rounds WHERE {0}) r "
      "LEFT JOIN (SELECT cluster, round, COUNT(*) n, SUM(base_round < round) late, SUM(bytes) bytes, "
      "  MAX(train_seconds) slowest, SUM(local_rounds) local, SUM(train_loss * weight) / SUM(weight) loss "
      "  FROM contributions WHERE {0} GROUP BY cluster, round) c ON c.cluster = r.cluster AND c.round = r.round "
      "LEFT JOIN (SELECT cycle, COUNT(*) n, SUM(base_cycle < cycle) late FROM handed_up WHERE run = ?1 GROUP BY cycle) "
      "  h ON r.cluster = '' AND h.cycle = r.round "
      "LEFT JOIN (SELECT cluster, round, SUM(samples) samples, SUM(accuracy * samples) / SUM(samples) accuracy, "
      "  SUM(loss * samples) / SUM(samples) loss, MIN(accuracy_min) low, MAX(accuracy_max) high, SUM(devices) devices "
      "FROM metrics WHERE {0} "
      "  GROUP BY cluster, round) m ON m.cluster = r.cluster AND m.round = r.round "
      "ORDER BY r.cluster, r.round",
      of);
}

}  // namespace

Result<> Registry::open_round(const RunId& run, std::int64_t round, const rounds::ClusterId& cluster) {
  return step([&]() -> Result<> {
    auto added = database_.run(
        "INSERT INTO rounds(run, cluster, round, state, opened_at) VALUES(?, ?, ?, 'fitting', ?) ON CONFLICT DO "
        "NOTHING",
        {run.str(), cluster.str(), round, now()});
    return added ? bump(run) : added;
  });
}

Result<> Registry::close_round(const RunId& run, std::int64_t round, double seconds, const ModelRow& model,
                               const Digest& algorithm_state) {
  return database_.transaction([&]() -> Result<> {
    const std::string hex = model.digest.hex();
    const std::string state = hex_or_empty(algorithm_state);
    auto closed = database_.run(
        "UPDATE rounds SET state = 'evaluating', seconds = ?, model = ?, algorithm_state = ? "
        "WHERE run = ? AND cluster = ? AND round = ?",
        {seconds, hex, state, run.str(), model.cluster.str(), round});
    if (!closed) {
      return closed;
    }
    if (auto added = add_model(model); !added) {
      return added;
    }
    return bump(run);
  });
}

Result<Digest> Registry::algorithm_state(const RunId& run, std::int64_t round, const rounds::ClusterId& cluster) {
  Digest state;
  auto read = database_.each("SELECT algorithm_state FROM rounds WHERE run = ? AND cluster = ? AND round = ?",
                             {run.str(), cluster.str(), round}, [&](const Row& row) -> Result<> {
                               auto digest = digest_or_none(row.text(0));
                               if (!digest) {
                                 return fail(ErrorKind::corrupt, "round {} of run {} is not readable", round, run);
                               }
                               state = *digest;
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return state;
}

Result<> Registry::set_round_state(const RunId& run, std::int64_t round, std::string_view state,
                                   const rounds::ClusterId& cluster) {
  return step([&]() -> Result<> {
    auto set = database_.run("UPDATE rounds SET state = ? WHERE run = ? AND cluster = ? AND round = ?",
                             {state, run.str(), cluster.str(), round});
    return set ? bump(run) : set;
  });
}

Result<> Registry::count_rejected(const RunId& run, std::int64_t round, const rounds::ClusterId& cluster) {
  return step([&] {
    return database_.run("UPDATE rounds SET rejected = rejected + 1 WHERE run = ? AND cluster = ? AND round = ?",
                         {run.str(), cluster.str(), round});
  });
}

Result<> Registry::count_dropped(const RunId& run, std::int64_t round, std::int64_t tasks,
                                 const rounds::ClusterId& cluster) {
  return step([&] {
    return database_.run("UPDATE rounds SET dropped = dropped + ? WHERE run = ? AND cluster = ? AND round = ?",
                         {tasks, run.str(), cluster.str(), round});
  });
}

Result<> Registry::count_download(const RunId& run, std::int64_t round, std::uint64_t bytes,
                                  const rounds::ClusterId& cluster) {
  return step([&] {
    return database_.run("UPDATE rounds SET bytes_down = bytes_down + ? WHERE run = ? AND cluster = ? AND round = ?",
                         {bytes, run.str(), cluster.str(), round});
  });
}

Result<std::vector<RoundRow>> Registry::rounds_of(const RunId& run, const std::optional<rounds::ClusterId>& only) {
  std::vector<RoundRow> rows;
  const std::string name = only ? only->str() : std::string();
  auto read = database_.each(rounds_statement(only ? "run = ?1 AND cluster = ?2" : "run = ?1 AND ?2 = ''"),
                             {run.str(), name}, [&](const Row& row) -> Result<> {
                               auto model = digest_or_none(row.text(5));
                               auto cluster = cluster_or_none(row.text(18));
                               if (!model || !cluster) {
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
                               round.dropped = row.integer(15);
                               round.late = row.integer(16);
                               round.local_rounds = row.integer(17);
                               round.cluster = *cluster;
                               round.evaluated_devices = row.integer(19);
                               rows.push_back(std::move(round));
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<bool> Registry::add_contribution(const RunId& run, std::int64_t round, const ContributionRow& row,
                                        const rounds::ClusterId& cluster) {
  bool added = false;
  const std::string blob = row.blob.hex();
  const std::string base = hex_or_empty(row.base);
  auto done = step([&]() -> Result<> {
    auto inserted = database_.run(
        "INSERT INTO contributions(run, round, device, task, blob, bytes, weight, train_loss, train_seconds, at, "
        "base_round, base, local_rounds, steps, cluster, codec) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        {run.str(), round, row.device.str(), row.task.str(), blob, row.bytes, row.weight, row.train_loss,
         row.train_seconds, now(), row.base_round, base, row.local_rounds, row.steps, cluster.str(), row.codec});
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

Result<std::vector<ContributionRow>> Registry::contributions(const RunId& run, std::int64_t round,
                                                             const rounds::ClusterId& cluster) {
  std::vector<ContributionRow> rows;
  auto read = database_.each(
      "SELECT device, task, blob, bytes, weight, train_loss, train_seconds, base_round, base, "
      "local_rounds, steps, codec FROM contributions WHERE run = ? AND cluster = ? AND round = ? ORDER BY device",
      {run.str(), cluster.str(), round}, [&](const Row& row) -> Result<> {
        auto device = DeviceId::parse(row.text(0));
        auto task = TaskId::parse(row.text(1));
        auto blob = Digest::from_hex(row.text(2));
        auto base = digest_or_none(row.text(8));
        if (!device || !task || !blob || !base) {
          return fail(ErrorKind::corrupt, "contributions of run {} are not readable", run);
        }
        rows.push_back({*device, *task, *blob, static_cast<std::uint64_t>(row.integer(3)),
                        static_cast<std::uint32_t>(row.integer(4)), row.number(5), row.number(6), row.integer(7), *base,
                        row.integer(9), static_cast<std::uint64_t>(row.integer(10)), std::string(row.text(11))});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<std::map<DeviceId, std::uint64_t>> Registry::bytes_up(const RunId& run) {
  std::map<DeviceId, std::uint64_t> bytes;
  auto read = database_.each("SELECT device, SUM(bytes) FROM contributions WHERE run = ? GROUP BY device", {run.str()},
                             [&](const Row& row) -> Result<> {
                               auto device = DeviceId::parse(row.text(0));
                               if (!device) {
                                 return fail(ErrorKind::corrupt, "contributions of run {} are not readable", run);
                               }
                               bytes[*device] = static_cast<std::uint64_t>(row.integer(1));
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return bytes;
}

Result<std::map<DeviceId, double>> Registry::last_losses(const RunId& run) {
  std::map<DeviceId, double> losses;
  auto read = database_.each("SELECT device, train_loss FROM contributions WHERE run = ? ORDER BY round", {run.str()},
                             [&](const Row& row) -> Result<> {
                               auto device = DeviceId::parse(row.text(0));
                               if (!device) {
                                 return fail(ErrorKind::corrupt, "contributions of run {} are not readable", run);
                               }
                               losses[*device] = row.number(1);
                               return {};
                             });
  if (!read) {
    return fail(read.error());
  }
  return losses;
}

Result<bool> Registry::has_contributed(const RunId& run, const TaskId& task, const DeviceId& device) {
  auto found = database_.integer("SELECT 1 FROM contributions WHERE run = ? AND task = ? AND device = ?",
                                 {run.str(), task.str(), device.str()});
  if (!found) {
    return fail(found.error());
  }
  return found->has_value();
}

}  // namespace flops::registry
