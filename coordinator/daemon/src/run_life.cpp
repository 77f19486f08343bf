// Which run is active: started, taken up after a restart, stopped.
#include <algorithm>
#include <iterator>
#include <utility>

#include "flops/core/log.hpp"
#include "flops/transfer/reconnect_window.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

using rounds::Phase;

void RunController::resume() {
  next_run();
}

// The oldest run that is not over becomes the active one; after a restart it goes on where it was.
Result<> RunController::activate_next() {
  if (active_) {
    return {};
  }
  next_due_ = true;  // until it is known which, nothing may be taken for superfluous
  auto runs = parts_.registry.runs();
  if (!runs) {
    return fail(runs.error(), "looking for the next run");
  }
  std::optional<RunId> next;
  for (const registry::RunRow& row : *runs) {
    if (!rounds::is_over(row.state.phase) && !row.paused) {
      next = row.state.id;  // newest first: the last one found is the oldest
    }
  }
  if (!next) {
    next_due_ = false;
    parts_.publisher.clear_leftovers();
    return {};
  }
  auto run = taken_up(*next);
  if (!run) {
    return fail(run.error(), fmt::format("reading run {}", *next));
  }
  if (auto expected = expect_participants(**run); !expected) {
    return fail(expected.error(), fmt::format("reading who takes part in run {}", *next));
  }
  active_ = *std::move(run);
  next_due_ = false;
  goal_due_ = true;
  regroup();
  rounds::RunState& top = active_->tree.top;
  const bool goes_on = top.phase != Phase::waiting;
  if (!goes_on && top.part != rounds::Part::whole) {
    top.deadline = devices_there_by(top);
    if (active_->tree.of_sites()) {
      top.least_wanted = static_cast<std::int64_t>(parts_.fleet.able(active_->spec(), active_->role()).size());
    }
  }
  log::info("runs", "{} {}", active_->id(), goes_on ? "goes on where it was" : "is next");
  if (goes_on) {
    advance([this] { return rounds::on_restart(active_->tree, grouped(), parts_.clock.steady()); });
    // It may have ended between what was decided of a device and what that meant for the run.
    for (const DeviceId& device : parts_.fleet.excluded()) {
      exclude(device, "the device was quarantined or revoked");
    }
  }
  fleet_changed();
  return {};
}

Result<std::unique_ptr<RunController::Active>> RunController::taken_up(const RunId& id) {
  auto row = parts_.registry.run(id);
  if (!row || !*row) {
    return row ? fail(ErrorKind::corrupt, "its record is gone") : fail(row.error());
  }
  auto run = std::make_unique<Active>();
  run->tree = rounds::make_tree(std::move((*row)->state), std::move((*row)->parts));
  auto step = algorithms::make(run->spec().algorithm);
  auto global = algorithms::make(run->spec().global.algorithm);
  auto weighing = algorithms::make(rounds::weighing_algorithm(run->spec()));
  if (!step || !global || !weighing) {
    return fail(ErrorKind::corrupt, "its algorithms are not readable");
  }
  run->algorithm = *std::move(step);
  run->global = *std::move(global);
  run->weighing = *std::move(weighing);
  if (run->spec().candidates > 0) {
    auto losses = parts_.registry.last_losses(id);
    if (!losses) {
      return fail(losses.error());
    }
    run->tree.losses = *std::move(losses);
  }
  if (!(*row)->layout.empty()) {
    auto layout = tensor::Layout::parse((*row)->layout);
    if (!layout) {
      return fail(ErrorKind::corrupt, "its stored layout: {}", layout.error().what);
    }
    run->layout = *std::move(layout);
  }
  auto sum = wants_sum(id, (*row)->origin);
  if (!sum) {
    return fail(sum.error());
  }
  run->sum_wanted = *sum;
  return run;
}

void RunController::next_run() {
  auto activated = activate_next();
  if (activated) {
    next_problem_.clear();
  } else if (activated.error().what != std::exchange(next_problem_, activated.error().what)) {
    log::error("runs", "{}; trying again", activated.error().what);
  }
}

// How long devices may take to come back after the coordinator's start.
std::chrono::seconds RunController::return_within() const {
  constexpr std::chrono::seconds connecting{10};
  return connecting + transfer::reconnect_window(
                          static_cast<std::int64_t>(parts_.fleet.devices().size()), parts_.config.reconnect.rate,
                          std::chrono::duration_cast<std::chrono::seconds>(parts_.config.reconnect.max_window));
}

// After a restart all devices are away at first. The next round must not become small because its model was made
// before they were back: those that took part are counted on for as long as they may take.
Result<> RunController::expect_participants(Active& run) {
  expected_.clear();
  const auto expect = [this](const rounds::RunState& node) {
    for (const auto& [device, participant] : node.participants) {
      if (participant.answer == rounds::Answer::contributed) {
        expected_.insert(device);
      }
    }
  };
  if (run.tree.flat()) {
    expect(run.tree.top);
  }
  for (auto& [cluster, part] : run.tree.parts) {
    expect(part);
    part.least_wanted = part.wanted;
  }
  auto clusters = parts_.registry.handed_up(run.id(), run.tree.top.round);
  if (!clusters) {
    return fail(clusters.error());
  }
  for (const registry::HandedUpRow& done : *clusters) {
    auto contributions = parts_.registry.contributions(run.id(), done.round, done.cluster);
    if (!contributions) {
      return fail(contributions.error());
    }
    std::ranges::transform(*contributions, std::inserter(expected_, expected_.end()),
                           &registry::ContributionRow::device);
  }
  std::erase_if(expected_, [this](const DeviceId& device) { return !parts_.fleet.is_accepted(device); });
  run.tree.top.least_wanted = expected_.empty() ? 0 : run.tree.top.wanted;
  expected_until_ = parts_.clock.steady() + return_within();
  return {};
}

// The measurement of a model is over: it may be as good as was wanted.
void RunController::look_at_goal() {
  if (!active_ || !goal_due_ || !records_.settled() || active_->tree.top.phase != Phase::fitting) {
    return;
  }
  const rounds::RunSpec& spec = active_->spec();
  goal_due_ = false;
  if (spec.goal.empty() || active_->tree.top.part != rounds::Part::whole) {
    return;
  }
  auto rounds = parts_.registry.rounds_of(active_->id(), ClusterId());
  if (!rounds) {
    log::error("runs", "{}: reading what was measured: {}", active_->id(), rounds.error().what);
    return;
  }
  std::vector<rounds::Measured> history;
  for (const registry::RoundRow& round : *rounds) {
    if (round.state == "done" && round.accuracy && round.loss) {
      history.push_back({round.round, *round.accuracy, *round.loss, round.evaluated_devices});
    }
  }
  if (const std::string why = rounds::reached(spec.goal, spec.best_by, history); !why.empty()) {
    feed({}, rounds::GoalReached{history.back().round, why});
  }
}

// Who is not back by now is away.
void RunController::expect_nobody() {
  expected_.clear();
  active_->tree.top.least_wanted = 0;
  for (auto& [cluster, part] : active_->tree.parts) {
    part.least_wanted = 0;
  }
  fleet_changed();
}

Result<RunId> RunController::start(const rounds::RunSpec& spec) {
  auto id = parts_.registry.add_run(spec);
  if (!id) {
    return fail(id.error(), "recording the run");
  }
  log::info("runs", "{}: {} on '{}', {} rounds", *id, spec.model, spec.data, spec.rounds);
  next_run();
  changed_();
  return *id;
}

Result<RunId> RunController::start(const rounds::RunSpec& spec, const registry::ProjectRow& project,
                                   const registry::RunSource& source) {
  auto id = parts_.registry.add_run(spec, project, source);
  if (!id) {
    return fail(id.error(), "recording the run");
  }
  log::info("runs", "{}: project {}, {} on '{}', {} rounds", *id, project.name, spec.model, spec.data, spec.rounds);
  next_run();
  changed_();
  return *id;
}

Result<> RunController::pause(const RunId& run, bool paused) {
  auto row = parts_.registry.run(run);
  if (!row || !*row) {
    return row ? fail(ErrorKind::permanent, "there is no run '{}'", run) : fail(row.error());
  }
  if (rounds::is_over((*row)->state.phase) || (*row)->paused == paused) {
    return {};
  }
  const bool active = active_ && active_->id() == run;
  if (active && !records_.settled()) {
    return fail(ErrorKind::transient, "the storage is in trouble: the run cannot be paused yet");
  }
  if (auto recorded = parts_.registry.set_paused(run, paused); !recorded) {
    return fail(recorded.error(), "recording the pause");
  }
  log::info("runs", "{} is {}", run, paused ? "paused" : "resumed");
  if (active) {
    put_aside();
  }
  next_run();
  changed_();
  return {};
}

// Takes the tasks back. When the run is taken up again they are given again.
void RunController::put_aside() {
  advance([this] { return rounds::on_pause(active_->tree, parts_.clock.steady()); });
  sweep_due_ = true;  // an update that was on its way
  let_go();
}

Result<> RunController::stop(const RunId& run) {
  if (active_ && active_->id() == run) {
    feed({}, rounds::StopRequested{});
    return records_.settled() ? Result<>()
                              : fail(ErrorKind::transient, "the stop is not recorded yet: the storage is in trouble");
  }
  auto row = parts_.registry.run(run);
  if (!row) {
    return fail(row.error());
  }
  if (!*row) {
    return fail(ErrorKind::permanent, "there is no run '{}'", run);
  }
  rounds::RunState& state = (*row)->state;
  if (rounds::is_over(state.phase)) {
    return {};
  }
  state.phase = Phase::stopped;
  state.reason = "stopped on request";
  auto saved = parts_.registry.save_run(state);
  sweep_due_ = true;  // it may have been paused in a round
  states_sweep_due_ = true;
  changed_();
  return saved;
}

}  // namespace flops::coordinator
