// Models and how good they are.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using store::Row;

Result<> Registry::save_metrics(const RunId& run, std::int64_t round, const DeviceId& device,
                                const wire::Metrics& metrics, const rounds::ClusterId& cluster,
                                const rounds::ClusterId& member) {
  const wire::Spread spread = metrics.spread.value_or(wire::Spread{metrics.accuracy, metrics.accuracy, 1});
  return step([&]() -> Result<> {
    auto saved = database_.run(
        "INSERT INTO metrics(run, round, device, samples, loss, accuracy, seconds, at, cluster, member, accuracy_min, "
        "accuracy_max, devices) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "
        "ON CONFLICT(run, cluster, round, device) DO UPDATE SET samples = ?4, loss = ?5, accuracy = ?6, seconds = ?7, "
        "at = ?8, member = ?10, accuracy_min = ?11, accuracy_max = ?12, devices = ?13",
        {run.str(), round, device.str(), metrics.samples, metrics.loss, metrics.accuracy, metrics.seconds, now(),
         cluster.str(), member.str(), spread.accuracy_min, spread.accuracy_max, spread.devices});
    return saved ? bump(run) : saved;
  });
}

Result<ModelFigures> Registry::model_figures(const RunId& run, std::int64_t round) {
  ModelFigures figures;
  auto read = database_.each(
      "SELECT SUM(devices), SUM(samples), SUM(accuracy * samples) / SUM(samples), SUM(loss * samples) / SUM(samples), "
      "MIN(accuracy_min), MAX(accuracy_max) FROM metrics WHERE run = ? AND cluster = '' AND round = ?",
      {run.str(), round}, [&](const Row& row) -> Result<> {
        figures = {row.integer(0), static_cast<std::uint64_t>(row.integer(1)),
                   row.number(2),  row.number(3),
                   row.number(4),  row.number(5)};
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return figures;
}

Result<std::vector<ClusterFigures>> Registry::cluster_figures(const RunId& run, const rounds::ClusterId& only) {
  std::vector<ClusterFigures> rows;
  auto read = database_.each(
      "SELECT round, member, SUM(samples), SUM(accuracy * samples) / SUM(samples), SUM(loss * samples) / SUM(samples), "
      "MIN(accuracy_min), MAX(accuracy_max), SUM(devices) FROM metrics WHERE run = ?1 AND cluster = '' AND "
      "member != '' AND (?2 = '' OR member = ?2) GROUP BY round, member ORDER BY round, member",
      {run.str(), only.str()}, [&](const Row& row) -> Result<> {
        auto cluster = cluster_or_none(row.text(1));
        if (!cluster) {
          return fail(ErrorKind::corrupt, "metrics of run {} are not readable", run);
        }
        rows.push_back({row.integer(0), *cluster, static_cast<std::uint64_t>(row.integer(2)), row.number(3),
                        row.number(4), row.number(5), row.number(6), row.integer(7)});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

Result<> Registry::add_model(const ModelRow& model) {
  const std::string digest = model.digest.hex();
  const std::string layout = model.layout.hex();
  return database_.run(
      "INSERT INTO models(digest, run, round, layout, parameters, bytes, created_at, cluster) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT(digest) DO NOTHING",
      {digest, model.run.str(), model.round, layout, model.parameters, model.bytes, now(), model.cluster.str()});
}

Result<std::vector<ModelRow>> Registry::models() {
  std::vector<ModelRow> rows;
  auto read = database_.each(
      "SELECT digest, run, round, layout, parameters, bytes, created_at, cluster FROM models ORDER BY created_at DESC, "
      "round "
      "DESC "
      "LIMIT 1000",
      {}, [&](const Row& row) -> Result<> {
        auto digest = Digest::from_hex(row.text(0));
        auto run = RunId::parse(row.text(1));
        auto layout = Digest::from_hex(row.text(3));
        auto cluster = cluster_or_none(row.text(7));
        if (!digest || !run || !layout || !cluster) {
          return fail(ErrorKind::corrupt, "the record of model '{}' is not readable", row.text(0));
        }
        rows.push_back({*digest, *run, row.integer(2), *layout, static_cast<std::uint64_t>(row.integer(4)),
                        static_cast<std::uint64_t>(row.integer(5)), row.integer(6), *cluster});
        return {};
      });
  if (!read) {
    return fail(read.error());
  }
  return rows;
}

}  // namespace flops::registry
