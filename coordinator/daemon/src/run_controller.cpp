#include "run_controller.hpp"

#include <algorithm>
#include <utility>

#include "flops/core/log.hpp"
#include "flops/transfer/reconnect_window.hpp"

namespace flops::coordinator {

using rounds::Phase;

namespace {

// Why a run waits, or what went wrong in it.
void log_reason(const rounds::RunState& before, const rounds::RunState& now) {
  if (now.reason != before.reason && !now.reason.empty() && !rounds::is_over(now.phase)) {
    log::info("runs", "{}: {}", now.id, now.reason);
  }
}

// What devices of this version cannot do: keep control variates, and say their steps.
Result<> devices_can(const rounds::RunSpec& spec) {
  auto step = algorithms::make(spec.algorithm);
  auto weighing = algorithms::make(rounds::weighing_algorithm(spec));
  if (!step || !weighing) {
    return fail((step ? weighing : step).error());
  }
  const bool needs_steps = (*weighing)->weight({.samples = 1, .steps = 0}) == 0;
  if ((*step)->client().control_variates || needs_steps) {
    return fail(ErrorKind::permanent, "algorithm: devices cannot do their part of {} yet; flops-sim can",
                needs_steps ? rounds::weighing_algorithm(spec).name : spec.algorithm.name);
  }
  return {};
}

}  // namespace

RunController::RunController(Parts parts, std::function<void()> changed)
    : parts_(std::move(parts)),
      changed_(std::move(changed)),
      grants_(static_cast<std::uint32_t>(parts_.config.limits.fleet_chunks),
              static_cast<std::uint32_t>(parts_.config.limits.device_chunks)) {}

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
    if (!rounds::is_over(row.state.phase)) {
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
  active_ = *std::move(run);
  next_due_ = false;
  ++generation_;
  expect_participants();
  active_->state.available = available();
  const bool goes_on = active_->state.phase != Phase::waiting;
  log::info("runs", "{} {}", active_->state.id, goes_on ? "goes on after a restart" : "is next");
  if (goes_on) {
    perform(rounds::on_restart(active_->state, parts_.clock.steady()));
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
  run->state = std::move((*row)->state);
  auto step = algorithms::make(run->state.spec.algorithm);
  auto weighing = algorithms::make(rounds::weighing_algorithm(run->state.spec));
  if (!step || !weighing) {
    return fail(ErrorKind::corrupt, "its algorithm: {}", (step ? weighing.error() : step.error()).what);
  }
  run->algorithm = *std::move(step);
  run->weighing = *std::move(weighing);
  if (run->state.spec.candidates > 0) {
    auto losses = parts_.registry.last_losses(id);
    if (!losses) {
      return fail(losses.error());
    }
    run->state.losses = *std::move(losses);
  }
  if (!(*row)->layout.empty()) {
    auto layout = tensor::Layout::parse((*row)->layout);
    if (!layout) {
      return fail(ErrorKind::corrupt, "its stored layout: {}", layout.error().what);
    }
    run->layout = *std::move(layout);
  }
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

// After a restart all devices are away at first. The next round must not become small because its model was made
// before they were back: those that took part are counted on for as long as they may take.
void RunController::expect_participants() {
  constexpr std::chrono::seconds connecting{10};
  expected_.clear();
  for (const auto& [device, participant] : active_->state.participants) {
    if (participant.answer == rounds::Answer::contributed) {
      expected_.insert(device);
    }
  }
  active_->state.least_wanted = expected_.empty() ? 0 : active_->state.wanted;
  const std::chrono::seconds window =
      transfer::reconnect_window(static_cast<std::int64_t>(parts_.fleet.devices().size()), parts_.config.reconnect.rate,
                                 std::chrono::duration_cast<std::chrono::seconds>(parts_.config.reconnect.max_window));
  expected_until_ = parts_.clock.steady() + window + connecting;
}

std::set<DeviceId> RunController::available() const {
  std::set<DeviceId> found = parts_.fleet.available(active_->state.spec.data);
  found.insert(expected_.begin(), expected_.end());
  return found;
}

Result<RunId> RunController::start(const rounds::RunSpec& spec) {
  if (spec.clusters.by != rounds::Grouping::By::nothing || spec.cycles > 1) {
    return fail(ErrorKind::permanent, "clusters and cycles: so far only flops-sim has them");
  }
  if (auto supported = devices_can(spec); !supported) {
    return fail(supported.error());
  }
  auto id = parts_.registry.add_run(spec);
  if (!id) {
    return fail(id.error(), "recording the run");
  }
  log::info("runs", "{}: {} on '{}', {} rounds", *id, spec.model, spec.data, spec.rounds);
  next_run();
  changed_();
  return *id;
}

Result<> RunController::stop(const RunId& run) {
  if (active_ && active_->state.id == run) {
    feed(rounds::StopRequested{});
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
  changed_();
  return saved;
}

void RunController::feed(const rounds::Event& event) {
  if (!active_) {
    return;
  }
  const rounds::RunState before = active_->state;
  const auto actions = rounds::on_event(active_->state, event, parts_.clock.steady());
  log_reason(before, active_->state);
  save(before);
  if (std::holds_alternative<rounds::Aggregated>(event)) {
    round_closed(before.round, actions);
  }
  if (!records_.settled()) {
    held_.insert(held_.end(), actions.begin(), actions.end());
    changed_();
    return;
  }
  perform(actions);
  if (active_ && (before.phase != active_->state.phase || before.round != active_->state.round)) {
    publish_status();
  }
  changed_();
}

void RunController::round_closed(std::int64_t round, const std::vector<rounds::Action>& actions) {
  const auto dropped = std::ranges::count_if(
      actions, [](const rounds::Action& action) { return std::holds_alternative<rounds::CancelTask>(action); });
  if (dropped > 0) {
    record(fmt::format("dropped {} {}", active_->state.id, round), "recording the round",
           [&registry = parts_.registry, run = active_->state.id, round, dropped] {
             return registry.count_dropped(run, round, dropped);
           });
  }
  drop_old_versions();
}

void RunController::perform(const std::vector<rounds::Action>& actions) {
  const std::optional<RunId> run = active_ ? std::optional(active_->state.id) : std::nullopt;
  for (const rounds::Action& action : actions) {
    if (active_ && active_->state.id == run) {  // one of them may end the run, and another begins
      std::visit([this](const auto& value) { perform(value); }, action);
    }
  }
}

void RunController::perform(const rounds::SendTask& action) {
  send_task(action.device, false);
}

void RunController::perform(const rounds::CancelTask& action) {
  const wire::TaskRef ref{action.task, active_->state.id, 1, action.round};
  parts_.link.command(action.device, "cancel", wire::encode(wire::Cancel{ref, action.reason}));
  if (const auto upload = active_->uploads.find(action.task); upload != active_->uploads.end()) {
    grants_.remove(action.task);
    if (upload->second.staging) {
      parts_.updates.discard(*std::move(upload->second.staging));
    }
    active_->uploads.erase(upload);
    sweep_due_ = true;  // it may be stored already
  }
}

void RunController::perform(const rounds::OpenRound& action) {
  Active& run = *active_;
  ++generation_;
  run.round_opened = parts_.clock.steady();
  run.evaluated.clear();
  run.sum = std::make_shared<std::unique_ptr<aggregation::RoundSum>>();
  if (auto opened = parts_.registry.open_round(run.state.id, action.round); !opened) {
    round_in_trouble(opened.error(), "recording the round");
    return;
  }
  auto stored = parts_.registry.contributions(run.state.id, action.round);
  if (!stored) {
    round_in_trouble(stored.error(), "reading the round's updates");
    return;
  }
  auto state = parts_.registry.algorithm_state(run.state.id, action.round - 1);
  if (!state) {
    round_in_trouble(state.error(), "reading the algorithm's state");
    return;
  }
  run.algorithm_state = *state;
  struct Summand {
    aggregation::StoredUpdate update;
    algorithms::Contribution work;
    std::uint64_t weight;
    DeviceId device;
    Digest blob;
  };
  std::vector<Summand> summands;
  for (const registry::ContributionRow& row : *stored) {
    summands.push_back({{parts_.updates.path_of(row.blob), row.bytes, row.base},
                        {row.weight, row.steps},
                        weight_of({row.weight, row.steps}, row.base_round),
                        row.device,
                        row.blob});
  }
  // After a restart the accepted updates are summed again from disk; devices need not send them again.
  parts_.worker.submit(
      [models = parts_.models, &updates = parts_.updates, base = run.state.model, sum = run.sum,
       summands = std::move(summands)]() -> Result<> {
        auto opened = aggregation::RoundSum::open(models, base);
        if (!opened) {
          return fail(opened.error());
        }
        for (const Summand& one : summands) {
          // A bit that the disk has changed would be summed as well as any other.
          auto added = updates.check(one.blob);
          added = added ? (*opened)->add(one.update, one.work, one.weight) : added;
          if (!added) {
            return fail(added.error(), fmt::format("summing the stored update of {}", one.device));
          }
        }
        *sum = *std::move(opened);
        return {};
      },
      [this, generation = generation_](Result<> done) {
        if (!done && generation == generation_ && active_) {
          round_in_trouble(done.error(), "opening the round");
        }
      });
  ingest_waiting();
}

void RunController::perform(const rounds::CloseRound& action) {
  Active& run = *active_;
  record_round(action.round, "aggregating");
  if (action.round > 1) {
    record_round(action.round - 1, "done");
  }
  struct Closed {
    aggregation::NewModel model;
    aggregation::EncodedModel delta;
  };
  ++closing_;
  parts_.worker.submit(
      [models = parts_.models, sum = run.sum, base = run.state.model, &downloads = parts_.downloads,
       algorithm = run.algorithm, state = run.algorithm_state,
       population = parts_.fleet.known(run.state.spec.data)]() -> Result<Closed> {
        if (!*sum) {
          return fail(ErrorKind::cancelled, "the round has no sum");
        }
        auto model = (*sum)->close(models, {algorithm.get(), state, population});
        log::debug("runs", "the mean is stored");
        sum->reset();  // its memory is free for the encoder
        if (!model) {
          return fail(model.error());
        }
        auto delta = aggregation::encode_model(models, downloads, model->digest, base);
        if (!delta) {
          return fail(delta.error());
        }
        return Closed{*model, *delta};
      },
      [this, round = action.round, generation = generation_](Result<Closed> closed) {
        --closing_;
        if (generation != generation_ || !active_) {
          return;
        }
        if (!closed) {
          round_in_trouble(closed.error(), "closing the round");
          return;
        }
        log::debug("runs", "round {}: the model is encoded for the next one", round);
        const Digest base = active_->state.model;
        if (auto recorded = new_model(round, closed->model, *active_->layout); !recorded) {
          round_in_trouble(recorded.error(), "recording the model");
          return;
        }
        Version& version = active_->versions[closed->model.digest];
        version.previous = base;
        version.encoded[base] = closed->delta;
        feed(rounds::Aggregated{closed->model.digest});
      });
}

void RunController::perform(const rounds::EvaluationClosed& action) {
  record_round(action.round, "done");
}

void RunController::perform(const rounds::RunOver&) {
  Active& run = *active_;
  log::info("runs", "{} is {}{}{}", run.state.id, rounds::to_string(run.state.phase),
            run.state.reason.empty() ? "" : ": ", run.state.reason);
  if (run.state.round > 0) {
    record_round(run.state.round, "done");
  }
  publish_status();
  discard_uploads();
  drop_blobs({});
  sweep_due_ = true;
  states_sweep_due_ = states_sweep_due_ || run.algorithm->state_vectors() > 0;
  ++generation_;
  take_up_at_.reset();
  held_.clear();
  active_.reset();
  expected_.clear();
  next_run();
}

void RunController::discard_uploads() {
  for (auto& [task, upload] : active_->uploads) {
    grants_.remove(task);
    if (upload.staging) {
      parts_.updates.discard(*std::move(upload.staging));
    }
  }
  active_->uploads.clear();
}

void RunController::fleet_changed() {
  if (active_) {
    feed(rounds::DevicesAvailable{available()});
  }
}

void RunController::tick() {
  if (auto synced = parts_.registry.sync(); !synced && is_storage_trouble(synced.error())) {
    storage_in_trouble(synced.error().within("syncing the steps of the last second"));
  }
  if (const auto unread = parts_.publisher.problem(); unread && !storage_probe_at_) {
    storage_in_trouble(unread->within("reading a model for the devices"));
  }
  look_at_storage();
  if (next_due_) {
    next_run();
  }
  sweep_updates();
  sweep_states();
  if (!active_ || !records_.settled()) {
    return;
  }
  const SteadyTime now = parts_.clock.steady();
  if (!expected_.empty() && now >= expected_until_) {
    expected_.clear();
    active_->state.least_wanted = 0;
    fleet_changed();
  }
  if (active_) {  // each of these may end the run
    take_up_again();
  }
  if (!active_) {
    return;
  }
  for (auto& [task, upload] : active_->uploads) {
    if (upload.staging && now - upload.last_chunk > parts_.config.limits.upload_stall) {
      upload.last_chunk = now;
      grants_.pause(task);  // until the device offers it again
    }
  }
  send_grants();
  feed(rounds::Tick{});
}

void RunController::connected() {
  parts_.publisher.republish();
  if (active_) {
    // What was sent while the link was down is gone, and so is a hello that came before the coordinator could listen.
    send_open_tasks();
    publish_status();
  }
}

void RunController::send_open_tasks() {
  for (const auto& [device, participant] : active_->state.participants) {
    send_task(device, false);
  }
}

void RunController::publish_status() {
  const rounds::RunState& state = active_->state;
  wire::RunStatus status;
  status.run = state.id;
  status.state = rounds::to_string(state.phase);
  status.cycle = 1;
  status.round = state.round;
  status.rounds = state.spec.rounds;
  status.participants = static_cast<std::int64_t>(state.participants.size());
  if (auto rows = parts_.registry.rounds_of(state.id)) {
    for (const registry::RoundRow& row : *rows) {
      status.bytes_up += row.bytes_up;
      status.bytes_down += row.bytes_down;
      if (row.accuracy) {
        status.accuracy = *row.accuracy;
        status.loss = row.loss.value_or(0);
      }
    }
  }
  parts_.link.publish(parts_.link.topics().run_status(state.id), wire::encode(status), {.qos = 1, .retain = true});
}

void RunController::refuse(const DeviceId& device, std::string_view about, std::string_view code,
                           std::string_view reason) {
  ++refusals_[std::string(code)];
  if (refusals_logged_.emplace(device, std::string(code)).second) {
    log::warn("refused", "{} of {}: {}: {}", about, device, code, reason);
  }
  parts_.link.command(device, "refused",
                      wire::encode(wire::Refused{std::string(about), std::string(code),
                                                 std::string(reason.substr(0, wire::max_reason))}));
}

}  // namespace flops::coordinator
