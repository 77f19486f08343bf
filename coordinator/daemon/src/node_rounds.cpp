// The rounds of a node: a sum from what is stored, and the next model from the sum.
#include <algorithm>

#include "flops/aggregation/weight.hpp"
#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

namespace {

std::string name_of(const rounds::ClusterId& node) {
  return node.empty() ? "" : fmt::format(", cluster {}", node);
}

}  // namespace

RunController::Node& RunController::new_sum(const ClusterId& node) {
  Node& opened = active_->nodes[node];
  opened = Node();
  opened.generation = ++sums_opened_;
  opened.round_opened = parts_.clock.steady();
  return opened;
}

bool RunController::is_open(const ClusterId& node, std::uint64_t generation) const {
  if (!active_) {
    return false;
  }
  const auto found = active_->nodes.find(node);
  return found != active_->nodes.end() && found->second.generation == generation;
}

std::uint64_t RunController::weight_of(const algorithms::Contribution& work, std::int64_t staleness) const {
  return aggregation::weight_in_sum(active_->weighing->weight(work), staleness,
                                    rounds::takes_late_updates(active_->spec()));
}

Result<std::vector<RunController::Summand>> RunController::summands(std::int64_t round, const ClusterId& cluster) {
  auto stored = parts_.registry.contributions(active_->id(), round, cluster);
  if (!stored) {
    return fail(stored.error());
  }
  std::vector<Summand> summands;
  for (const registry::ContributionRow& row : *stored) {
    const algorithms::Contribution work{row.weight, row.steps};
    summands.push_back({{parts_.updates.path_of(row.blob), row.bytes, row.base, row.codec == wire::sum_codec},
                        work,
                        weight_of(work, round - row.base_round),
                        row.device,
                        row.blob});
  }
  return summands;
}

Result<> RunController::add_stored(blob::FileStore& updates, aggregation::RoundSum& sum,
                                   const std::vector<Summand>& summands) {
  for (const Summand& one : summands) {
    // A bit that the disk has changed would be summed as well as any other.
    auto added = updates.check(one.blob);
    added = added ? sum.add(one.update, one.work, one.weight) : added;
    if (!added) {
      return fail(added.error(), fmt::format("summing the stored update of {}", one.device));
    }
  }
  return {};
}

// After a restart the accepted updates are summed again from disk; devices need not send them again.
void RunController::perform(const ClusterId& node, const rounds::OpenRound& action) {
  const rounds::RunState* state = active_->tree.node(node);
  if (state == nullptr) {
    return;
  }
  if (node.empty() && !active_->tree.flat()) {
    open_top();
    return;
  }
  Node& opened = new_sum(node);
  if (auto recorded = parts_.registry.open_round(active_->id(), action.round, node); !recorded) {
    round_in_trouble(node, recorded.error(), "recording the round");
    return;
  }
  auto stored = summands(action.round, node);
  if (!stored) {
    round_in_trouble(node, stored.error(), "reading the round's updates");
    return;
  }
  // A cluster begins each cycle anew.
  auto kept = action.round > state->first_round ? parts_.registry.algorithm_state(active_->id(), action.round - 1, node)
                                                : Result<Digest>(Digest());
  if (!kept) {
    round_in_trouble(node, kept.error(), "reading the algorithm's state");
    return;
  }
  opened.algorithm_state = *kept;
  parts_.worker.submit(
      [models = parts_.models, &updates = parts_.updates, base = state->model, sum = opened.sum,
       stored = *std::move(stored)]() -> Result<> {
        auto made = aggregation::RoundSum::open(models, base);
        auto added = made ? add_stored(updates, **made, stored) : fail(made.error());
        if (added) {
          *sum = *std::move(made);
        }
        return added;
      },
      [this, node, generation = opened.generation](const Result<>& done) {
        if (!done && is_open(node, generation)) {
          round_in_trouble(node, done.error(), "opening the round");
        }
      });
  ingest_waiting(node);
}

void RunController::perform(const ClusterId& node, const rounds::CloseRound& action) {
  const rounds::RunState* state = active_->tree.node(node);
  if (state == nullptr) {
    return;
  }
  record_round(node, action.round, "aggregating");
  if (action.round > state->first_round) {
    record_round(node, action.round - 1, "done");
    goal_due_ = goal_due_ || node.empty();
  }
  ++closing_;
  const Node& open = active_->nodes[node];
  parts_.worker.submit([models = parts_.models, sum = open.sum, base = state->model, &downloads = parts_.downloads,
                        how = closing_of(node, *state)] { return close(models, downloads, *sum, base, how); },
                       [this, node, round = action.round, generation = open.generation](const Result<Closed>& closed) {
                         --closing_;
                         if (is_open(node, generation)) {
                           round_closed(node, round, closed);
                         } else if (closed) {
                           remove_unrecorded(closed->model.digest);
                         }
                       });
}

RunController::Closing RunController::closing_of(const ClusterId& node, const rounds::RunState& state) {
  Closing how;
  how.algorithm = active_->step_of(node);
  how.algorithm_state = active_->nodes[node].algorithm_state;
  how.population = active_->tree.flat() ? parts_.fleet.able(active_->spec(), active_->role()).size() : 0;
  if (node.empty() && state.part == rounds::Part::rounds) {
    how.encode = state.round < rounds::last_round(state);
    if (state.spec.rounds == 1) {
      how.algorithm = nullptr;  // the only step of the cycle is taken by who asked for the part
      how.sum_file = active_->sum_wanted ? sum_file(active_->id()) : std::filesystem::path();
    }
  }
  return how;
}

Result<RunController::Closed> RunController::close(const aggregation::ModelFolder& models, blob::FileStore& downloads,
                                                   std::unique_ptr<aggregation::RoundSum>& sum, const Digest& base,
                                                   const Closing& how) {
  if (!sum) {
    return fail(ErrorKind::cancelled, "the round has no sum");
  }
  if (!how.sum_file.empty()) {
    if (auto stored = aggregation::store_sum(models, *sum, how.sum_file); !stored) {
      return fail(stored.error());
    }
  }
  auto model = sum->close(models, {how.algorithm.get(), how.algorithm_state, how.population});
  log::debug("runs", "the mean is stored");
  sum.reset();  // its memory is free for the encoder
  if (!model) {
    return fail(model.error());
  }
  Closed closed{*model, std::nullopt};
  if (how.encode) {
    auto delta = aggregation::encode_model(models, downloads, model->digest, base);
    if (!delta) {
      return fail(delta.error());
    }
    closed.delta = *delta;
  }
  return closed;
}

void RunController::round_closed(const ClusterId& node, std::int64_t round, const Result<Closed>& closed) {
  if (!closed) {
    round_in_trouble(node, closed.error(), "closing the round");
    return;
  }
  log::debug("runs", "round {}{}: the model is there", round, name_of(node));
  const Digest base = active_->tree.node(node)->model;
  if (auto recorded = new_model(node, round, closed->model, *active_->layout); !recorded) {
    round_in_trouble(node, recorded.error(), "recording the model");
    return;
  }
  if (closed->delta) {
    Version& version = active_->versions[closed->model.digest];
    version.previous = base;
    version.encoded[base] = *closed->delta;
  }
  if (node.empty() && !active_->tree.flat()) {
    regroup();
    fleet_changed();
  }
  feed(node, rounds::Aggregated{closed->model.digest});
  look_at_goal();
}

Result<> RunController::new_model(const ClusterId& node, std::int64_t round, const aggregation::NewModel& model,
                                  const tensor::Layout& layout) {
  const registry::ModelRow row{model.digest,
                               active_->id(),
                               round,
                               layout.id(),
                               layout.parameters(),
                               model.file_bytes,
                               unix_ms(parts_.clock.wall()),
                               node};
  if (round == 0) {
    return parts_.registry.add_model(row);
  }
  const Seconds seconds = parts_.clock.steady() - active_->nodes[node].round_opened;
  if (auto recorded = parts_.registry.close_round(active_->id(), round, seconds.count(), row, model.state); !recorded) {
    return recorded;  // the updates behind it stay
  }
  sweep_due_ = true;
  states_sweep_due_ = states_sweep_due_ || !model.state.empty();
  log::info("runs", "{} round {}{}: model {} in {:.2f} s", active_->id(), round, name_of(node),
            model.digest.short_hex(), seconds.count());
  return {};
}

// A full disk, say, passes: soon the run is taken up from what is on the disk, as after a restart. Until then it has
// no sums, and nobody gets a receipt, so nobody lets go of anything.
void RunController::round_in_trouble(const ClusterId& node, const Error& error, std::string_view doing) {
  constexpr std::chrono::seconds pause{5};
  if (error.kind == ErrorKind::cancelled) {  // what is in trouble was said
    log::info("runs", "{}{}: {}", doing, name_of(node), error.what);
  } else {
    log::error("runs", "{}{}: {}", doing, name_of(node), error.what);
  }
  if (error.kind == ErrorKind::corrupt || error.kind == ErrorKind::permanent || error.kind == ErrorKind::bug) {
    feed(node, rounds::AggregationFailed{error.what});
    return;
  }
  if (is_storage_trouble(error)) {
    storage_in_trouble(error.within(doing));
  }
  for (auto& [cluster, open] : active_->nodes) {
    const SteadyTime opened = open.round_opened;
    open = Node();
    open.generation = ++sums_opened_;
    open.round_opened = opened;
  }
  take_up_at_ = parts_.clock.steady() + pause;
}

void RunController::take_up_again() {
  if (take_up_at_ && parts_.clock.steady() >= *take_up_at_) {
    take_up_at_.reset();
    log::info("runs", "{} round {} is taken up again", active_->id(), active_->tree.top.round);
    advance([this] { return rounds::on_restart(active_->tree, grouped(), parts_.clock.steady()); });
  }
}

// From the stored updates, because the sum cannot be trusted any more.
void RunController::sum_again(const ClusterId& node) {
  const rounds::RunState* state = active_->tree.node(node);
  const bool goes_up = state != nullptr && state->phase == rounds::Phase::finished && state->sum_goes_up;
  if (state != nullptr && (state->phase == rounds::Phase::fitting || goes_up)) {
    perform(node, rounds::OpenRound{state->round});
  }
}

}  // namespace flops::coordinator
