// What clusters handed up to the top.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using store::Row;

Result<> Registry::add_handed_up(const RunId& run, std::int64_t cycle, const HandedUpRow& row) {
  const std::string model = hex_or_empty(row.model);
  const std::string base = hex_or_empty(row.base);
  return step([&]() -> Result<> {
    auto inserted = database_.run(
        "INSERT INTO handed_up(run, cycle, cluster, task, base_cycle, round, model, base, samples, steps, at) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        {run.str(), cycle, row.cluster.str(), row.task.str(), row.base_cycle, row.round, model, base, row.samples,
         row.steps, now()});
    if (!inserted) {
      return inserted;
    }
    // Together, so that after a crash it is not handed up twice.
    auto answered =
        database_.run("UPDATE participants SET answer = ? WHERE run = ? AND cluster = '' AND device = ? AND task = ?",
                      {static_cast<int>(rounds::Answer::contributed), run.str(), row.cluster.str(), row.task.str()});
    if (!answered) {
      return answered;
    }
    if (auto removed = write_part(run, row.cluster, nullptr); !removed) {
      return removed;
    }
    auto done = database_.run("UPDATE rounds SET state = 'done' WHERE run = ? AND cluster = ? AND round = ?",
                              {run.str(), row.cluster.str(), row.round});
    return done ? bump(run) : done;
  });
}

Result<std::vector<HandedUpRow>> Registry::handed_up(const RunId& run, std::int64_t cycle) {
  std::vector<HandedUpRow> rows;
  auto read = database_.each(
      "SELECT cluster, task, base_cycle, round, model, base, samples, steps FROM handed_up WHERE run = ? AND cycle = ? "
      "ORDER BY cluster",
      {run.str(), cycle}, [&](const Row& row) -> Result<> {
        auto cluster = cluster_or_none(row.text(0));
        auto task = TaskId::parse(row.text(1));
        auto model = digest_or_none(row.text(4));
        auto base = digest_or_none(row.text(5));
        if (!cluster || !task || !model || !base) {
          return fail(ErrorKind::corrupt, "what clusters of run {} handed up is not readable", run);
        }
        rows.push_back({*cluster, *task, row.integer(2), row.integer(3), *model, *base,
                        static_cast<std::uint64_t>(row.integer(6)), static_cast<std::uint64_t>(row.integer(7))});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

}  // namespace flops::registry
