// The machines of a run's tree: the top, clusters at work, and the participants of each.
#include "digests.hpp"
#include "flops/registry/registry.hpp"

namespace flops::registry {

using rounds::ClusterId;
using rounds::RunState;
using store::Row;

Result<> Registry::write_top(const RunState& state) {
  const std::string model = hex_or_empty(state.model);
  auto saved = database_.run(
      "UPDATE runs SET phase = ?, reason = ?, round = ?, model = ?, failed_initialisations = ?, "
      "revision = revision + 1, finished_at = CASE WHEN ?6 AND finished_at = 0 THEN ?7 ELSE finished_at END, "
      "wanted = ?8 WHERE id = ?9",
      {to_string(state.phase), state.reason, state.round, model, state.failed_initialisations,
       rounds::is_over(state.phase), now(), state.wanted, state.id.str()});
  return saved ? write_participants(state.id, {}, &state) : saved;
}

// Without a state the cluster is not at work any more.
Result<> Registry::write_part(const RunId& run, const ClusterId& cluster, const RunState* state) {
  if (state == nullptr) {
    auto removed = database_.run("DELETE FROM parts WHERE run = ? AND cluster = ?", {run.str(), cluster.str()});
    return removed ? write_participants(run, cluster, nullptr) : removed;
  }
  const std::string model = hex_or_empty(state->model);
  auto written = database_.run(
      "INSERT OR REPLACE INTO parts(run, cluster, part, first_round, phase, reason, round, model, wanted, "
      "failed_initialisations) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {run.str(), cluster.str(), static_cast<int>(state->part), state->first_round, to_string(state->phase),
       state->reason, state->round, model, state->wanted, state->failed_initialisations});
  return written ? write_participants(run, cluster, state) : written;
}

Result<> Registry::write_participants(const RunId& run, const ClusterId& cluster, const RunState* state) {
  auto cleared = database_.run("DELETE FROM participants WHERE run = ? AND cluster = ?", {run.str(), cluster.str()});
  if (!cleared || state == nullptr) {
    return cleared;
  }
  for (const auto& [device, participant] : state->participants) {
    if (auto added = write_participant(run, cluster, device, participant); !added) {
      return added;
    }
  }
  return {};
}

Result<> Registry::write_participant(const RunId& run, const ClusterId& cluster, const DeviceId& device,
                                     const rounds::Participant& participant) {
  const std::string base = hex_or_empty(participant.base);
  return database_.run(
      "INSERT OR REPLACE INTO participants(run, cluster, device, task, kind, answer, round, base) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
      {run.str(), cluster.str(), device.str(), participant.task.str(), wire::to_string(participant.kind),
       static_cast<int>(participant.answer), participant.round, base});
}

Result<> Registry::save_participant(const RunState& state, const DeviceId& device, const ClusterId& cluster) {
  return step([&]() -> Result<> {
    auto written = write_participant(state.id, cluster, device, state.participants.at(device));
    if (written && !cluster.empty()) {
      written = database_.run("UPDATE parts SET reason = ? WHERE run = ? AND cluster = ?",
                              {state.reason, state.id.str(), cluster.str()});
    }
    if (!written) {
      return written;
    }
    return cluster.empty() ? database_.run("UPDATE runs SET reason = ?, revision = revision + 1 WHERE id = ?",
                                           {state.reason, state.id.str()})
                           : bump(state.id);
  });
}

Result<> Registry::read_parts(RunRow& run) {
  return database_.each(
      "SELECT cluster, part, first_round, phase, reason, round, model, wanted, failed_initialisations FROM parts "
      "WHERE run = ?",
      {run.state.id.str()}, [&](const Row& row) -> Result<> {
        auto cluster = ClusterId::parse(row.text(0));
        auto model = digest_or_none(row.text(6));
        const auto kind = part_or_none(row.integer(1));
        RunState part;
        if (!cluster || !model || !kind || !rounds::parse_phase(row.text(3), part.phase)) {
          return fail(ErrorKind::corrupt, "clusters of run {} are not readable", run.state.id);
        }
        part.id = run.state.id;
        part.part = *kind;
        part.first_round = row.integer(2);
        part.reason = row.text(4);
        part.round = row.integer(5);
        part.model = *model;
        part.wanted = row.integer(7);
        part.failed_initialisations = row.integer(8);
        run.parts.emplace(*std::move(cluster), std::move(part));
        return {};
      });
}

Result<> Registry::read_participants(RunRow& run) {
  return database_.each(
      "SELECT device, task, kind, answer, round, base, cluster FROM participants WHERE run = ?", {run.state.id.str()},
      [&](const Row& row) -> Result<> {
        auto device = DeviceId::parse(row.text(0));
        auto task = TaskId::parse(row.text(1));
        auto base = digest_or_none(row.text(5));
        auto cluster = cluster_or_none(row.text(6));
        const bool known = cluster && (cluster->empty() || run.parts.contains(*cluster));
        if (!device || !task || !base || !known || row.integer(3) < 0 || row.integer(3) > 2) {
          return fail(ErrorKind::corrupt, "participants of run {} are not readable", run.state.id);
        }
        rounds::Participant participant{*task, wire::TaskKind::train, static_cast<rounds::Answer>(row.integer(3)),
                                        row.integer(4), *base};
        for (const auto kind : {wire::TaskKind::init, wire::TaskKind::train, wire::TaskKind::evaluate}) {
          if (row.text(2) == wire::to_string(kind)) {
            participant.kind = kind;
          }
        }
        RunState& node = cluster->empty() ? run.state : run.parts.at(*cluster);
        node.participants.emplace(*device, participant);
        return {};
      });
}

}  // namespace flops::registry
