// What clusters give to the top: after one round their sum, after several their model.
#include "flops/aggregation/weight.hpp"
#include "flops/core/log.hpp"
#include "round_work.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

std::uint64_t RunController::weight_of(const registry::HandedUpRow& row, std::int64_t cycle) const {
  return aggregation::weight_in_sum(active_->global->weight({row.samples, row.steps}), cycle - row.base_cycle,
                                    rounds::takes_late_updates(active_->spec()));
}

// The sum of a cycle, from what clusters have handed up in it already: nothing at first, more after a restart.
void RunController::open_top() {
  const rounds::RunState& top = active_->tree.top;
  Node& opened = new_sum({});
  if (auto recorded = parts_.registry.open_round(active_->id(), top.round); !recorded) {
    round_in_trouble({}, recorded.error(), "recording the cycle");
    return;
  }
  auto stored = handed_up(top.round);
  if (!stored) {
    round_in_trouble({}, stored.error(), "reading what clusters handed up");
    return;
  }
  auto kept = parts_.registry.algorithm_state(active_->id(), top.round - 1);
  if (!kept) {
    round_in_trouble({}, kept.error(), "reading the algorithm's state");
    return;
  }
  opened.algorithm_state = *kept;
  parts_.worker.submit(
      [models = parts_.models, &updates = parts_.updates, base = top.model, sum = opened.sum,
       stored = *std::move(stored)]() -> Result<> {
        auto made = aggregation::RoundSum::open(models, base);
        if (!made) {
          return fail(made.error());
        }
        for (const ClusterResult& one : stored) {
          auto added = one.row.model.empty() ? add_stored(updates, **made, one.summands)
                                             : (*made)->add_model(one.row.model, one.row.base,
                                                                  {one.row.samples, one.row.steps}, one.weight);
          if (!added) {
            return fail(added.error(), fmt::format("summing what cluster {} handed up", one.row.cluster));
          }
        }
        *sum = *std::move(made);
        return {};
      },
      [this, generation = opened.generation](const Result<>& done) {
        if (!done && is_open({}, generation)) {
          round_in_trouble({}, done.error(), "opening the cycle");
        }
      });
  hand_up_waiting();
}

Result<std::vector<RunController::ClusterResult>> RunController::handed_up(std::int64_t cycle) {
  auto rows = parts_.registry.handed_up(active_->id(), cycle);
  if (!rows) {
    return fail(rows.error());
  }
  std::vector<ClusterResult> results;
  for (registry::HandedUpRow& row : *rows) {
    ClusterResult result{row, weight_of(row, cycle), {}};
    if (row.model.empty()) {
      auto stored = summands(row.round, row.cluster);
      if (!stored) {
        return fail(stored.error());
      }
      result.summands = *std::move(stored);
    }
    results.push_back(std::move(result));
  }
  return results;
}

// What was finished while the sum before was being closed, or was in the sum that is not trusted any more.
void RunController::hand_up_waiting() {
  std::vector<ClusterId> waiting;
  for (const auto& [cluster, part] : active_->tree.parts) {
    if (part.phase == rounds::Phase::finished && active_->nodes.contains(cluster)) {
      waiting.push_back(cluster);
    }
  }
  for (const ClusterId& cluster : waiting) {
    hand_up(cluster);
  }
}

void RunController::hand_up(const ClusterId& cluster) {
  const rounds::RunState& top = active_->tree.top;
  const rounds::RunState* part = active_->tree.node(cluster);
  Node& up = active_->nodes[{}];
  Node& own = active_->nodes[cluster];
  if (part == nullptr || part->phase != rounds::Phase::finished || top.phase != rounds::Phase::fitting ||
      up.generation == 0 || own.handed_to == up.generation) {
    return;  // while the top closes its sum, it waits for the next one
  }
  auto row = result_of(cluster);
  if (!row) {
    round_in_trouble({}, row.error(), "reading the updates of a cluster");
    return;
  }
  own.handed_to = up.generation;
  const bool late = row->base_cycle < top.round;
  parts_.worker.submit(
      [models = parts_.models, into = up.sum, from = own.sum, row = *row, late,
       weight = weight_of(*row, top.round)]() -> Result<aggregation::NewModel> {
        const bool as_sum = row.model.empty();
        if (!*into || (as_sum && !*from)) {
          return fail(ErrorKind::cancelled, "the cycle or the cluster has no sum");
        }
        if (as_sum && !late) {
          auto merged = (*into)->merge(**from);
          return merged ? Result<aggregation::NewModel>(aggregation::NewModel()) : fail(merged.error());
        }
        // Only a mean can count for less than it weighs.
        auto model =
            as_sum ? (*from)->close(models) : Result<aggregation::NewModel>(aggregation::NewModel{.digest = row.model});
        if (!model) {
          return fail(model.error());
        }
        auto added = (*into)->add_model(model->digest, row.base, {row.samples, row.steps}, weight);
        return added ? model : fail(added.error());
      },
      [this, cluster, row = *row, generation = up.generation](const Result<aggregation::NewModel>& added) {
        if (is_open({}, generation) && active_->tree.node(cluster) != nullptr) {
          handed_up(cluster, row, added);
        }
      });
}

Result<registry::HandedUpRow> RunController::result_of(const ClusterId& cluster) {
  const rounds::RunState& part = active_->tree.parts.at(cluster);
  const auto asked = active_->tree.top.participants.find(DeviceId::parse(cluster.str()).value_or(DeviceId()));
  if (asked == active_->tree.top.participants.end()) {
    return fail(ErrorKind::bug, "cluster {} was not asked", cluster);
  }
  auto contributions = parts_.registry.contributions(active_->id(), part.round, cluster);
  if (!contributions) {
    return fail(contributions.error());
  }
  registry::HandedUpRow row{cluster, asked->second.task, asked->second.round, part.round, {}, asked->second.base};
  if (active_->spec().rounds > 1) {
    row.model = part.model;
  }
  const RoundWork work = work_of_round(*contributions);
  row.samples = work.samples;
  row.steps = work.steps;
  return row;
}

void RunController::handed_up(const ClusterId& cluster, registry::HandedUpRow row,
                              const Result<aggregation::NewModel>& added) {
  if (!added) {
    round_in_trouble({}, added.error(), fmt::format("summing what cluster {} handed up", cluster));
    return;
  }
  const std::int64_t cycle = active_->tree.top.round;
  log::debug("runs", "cluster {} is in the sum of cycle {}", cluster, cycle);
  if (row.model.empty() && !added->digest.empty()) {
    row.model = added->digest;
    if (auto recorded = new_late_model(row, *added); !recorded) {
      round_in_trouble({}, recorded.error(), "recording a cluster's model");
      return;
    }
  }
  if (auto recorded = parts_.registry.add_handed_up(active_->id(), cycle, row); !recorded) {
    round_in_trouble({}, recorded.error(), "recording what a cluster handed up");
    return;
  }
  active_->nodes[cluster].handed_up = true;
  log::info("runs", "{} cycle {}: cluster {} has handed up its {}", active_->id(), cycle, cluster,
            row.model.empty() ? "sum" : "model");
  feed(cluster, rounds::HandedUp{});
}

Result<> RunController::new_late_model(const registry::HandedUpRow& row, const aggregation::NewModel& model) {
  return parts_.registry.add_model({model.digest, active_->id(), row.round, active_->layout->id(),
                                    active_->layout->parameters(), model.file_bytes, unix_ms(parts_.clock.wall()),
                                    row.cluster});
}

}  // namespace flops::coordinator
