// Tasks of virtual learners: how long they take, what comes of them.
#include <algorithm>
#include <cmath>

#include "engine.hpp"
#include "flops/aggregation/weight.hpp"

namespace flops::sim {

using wire::TaskKind;

namespace {

// Without gradients a forward pass is about a third of the work.
constexpr double evaluation_speed = 3;

double transfer_seconds(std::uint64_t bytes, double mbit) {
  return mbit > 0 ? static_cast<double>(bytes) * 8 / (mbit * 1e6) : 0;
}

// The mean by samples.
Measurement together(const Measurement& a, const Measurement& b) {
  const auto one = static_cast<double>(a.samples);
  const auto other = static_cast<double>(b.samples);
  return {(a.loss * one + b.loss * other) / (one + other), (a.accuracy * one + b.accuracy * other) / (one + other),
          a.samples + b.samples};
}

}  // namespace

void Simulation::Engine::perform(const ClusterId& node, const rounds::SendTask& action) {
  if (action.kind == TaskKind::init) {
    initialise(node, action);
    return;
  }
  const rounds::RunState* const machine = tree_.node(node);
  if (machine == nullptr || !machine->participants.contains(action.device)) {
    return;  // over already
  }
  const rounds::Participant& participant = machine->participants.at(action.device);
  Open open{node, action, participant.base, folder_ / fmt::format("update-{}", ++updates_made_), {}, {}, {}};
  const double down = seconds_down(node, action, participant.base);
  const DeviceProfile& devices = project_.devices;
  const bool trains = action.kind == TaskKind::train;
  const bool straggles = trains && draw(tree_.spec.seed, "straggler", action.device, action.round) < devices.stragglers;
  if (straggles && !devices.stragglers_answer) {
    open_.emplace(action.task, std::move(open));  // until its round closes
    return;
  }
  const models::TrainingPlan plan = plan_of(action, straggles);
  const double work = work_seconds(action, plan);
  const bool vanishes = trains && draw(tree_.spec.seed, "dropout", action.device, action.round) < devices.dropout;
  if (vanishes) {
    vanish(action.device, down + work / 2);
  }
  LearningTask task;
  task.learner = action.device;
  task.base = versions_.at(participant.base).values;
  task.plan = plan;
  task.seed = action.seed;
  task.train = trains;
  task.evaluate = !trains || action.evaluate_first;
  task.into = open.update;
  if (algorithms_.devices->client().control_variates) {
    task.control_variates = true;
    task.variate = variates_[action.device];
  }
  open.cancelled = task.cancelled;
  open.computed = pool_.submit(
      [this, task = std::move(task)](int thread) { return learnings_[static_cast<std::size_t>(thread)].run(task); });
  open_.emplace(action.task, std::move(open));
  timeline_.after(down + work + (vanishes ? devices.away_seconds : 0), [this, id = action.task] { computed(id); });
}

void Simulation::Engine::initialise(const ClusterId& node, const rounds::SendTask& action) {
  const auto file = folder_ / "initial";
  const bool control_variates = algorithms_.devices->client().control_variates;
  auto initial = make_initial(tree_.spec.model, control_variates, action.seed, file);
  if (!initial) {
    timeline_.after(0, [this, node, action, why = initial.error().what] {
      feed(node, rounds::TaskFailed{action.device, action.task, why});
    });
    return;
  }
  auto model = aggregation::store_initial_model(models_, initial->layout, {file, initial->bytes});
  if (!model) {
    failed(model.error(), "storing the initial model");
    return;
  }
  if (auto loaded = load_version(model->digest, {}); !loaded) {
    failed(loaded.error(), "reading the initial model");
    return;
  }
  newest_ = model->digest;
  parameters_ = algorithms_.devices->model_parameters(initial->layout);
  timeline_.after(project_.devices.latency_seconds, [this, node, action, digest = model->digest] {
    feed(node, rounds::Initialised{action.device, action.task, digest});
  });
}

models::TrainingPlan Simulation::Engine::plan_of(const rounds::SendTask& action, bool straggles) const {
  const wire::TrainingSpec& training = tree_.spec.training;
  models::TrainingPlan plan{training.epochs,        training.batch,    training.optimizer,
                            training.learning_rate, training.momentum, training.weight_decay,
                            training.loss,          training.steps,    algorithms_.devices->client().proximal};
  plan.learning_rate = rounds::learning_rate(tree_.spec, action.round);
  if (straggles) {
    const double share = draw(tree_.spec.seed, "share", action.device, action.round);
    std::int64_t& amount = plan.steps > 0 ? plan.steps : plan.epochs;
    amount = 1 + static_cast<std::int64_t>(share * static_cast<double>(amount));  // 1 to amount, alike
  }
  return plan;
}

double Simulation::Engine::work_seconds(const rounds::SendTask& action, const models::TrainingPlan& plan) const {
  double samples = 0;
  if (action.kind == TaskKind::train) {
    samples += plan.steps > 0
                   ? static_cast<double>(plan.steps) * static_cast<double>(plan.batch)
                   : static_cast<double>(plan.epochs) * static_cast<double>(population_.train_samples(action.device));
  }
  if (action.kind == TaskKind::evaluate || action.evaluate_first) {
    samples += static_cast<double>(population_.test_samples(action.device)) / evaluation_speed;
  }
  return samples / (project_.devices.samples_per_second * population_.speed(action.device));
}

double Simulation::Engine::seconds_down(const ClusterId& node, const rounds::SendTask& action, const Digest& base) {
  const std::uint64_t bytes = download_bytes(action.device, base);
  held_[action.device] = base;
  record(node, action.round).bytes_down += bytes;
  return project_.devices.latency_seconds + transfer_seconds(bytes, project_.devices.down_mbit);
}

std::uint64_t Simulation::Engine::download_bytes(const DeviceId& learner, const Digest& base) {
  const auto held = held_.find(learner);
  if (held != held_.end() && held->second == base) {
    return 0;
  }
  Version& version = versions_.at(base);
  const bool delta = held != held_.end() && !version.previous.empty() && held->second == version.previous;
  std::optional<std::uint64_t>& known = delta ? version.delta_bytes : version.complete_bytes;
  if (!known) {
    known = encoded_bytes(base, delta ? version.previous : Digest());
  }
  return *known;
}

std::uint64_t Simulation::Engine::encoded_bytes(const Digest& model, const Digest& base) {
  auto encoded = aggregation::encode_model(models_, downloads_, model, base);
  if (!encoded) {
    failed(encoded.error(), "encoding a model for the learners");
    return 0;
  }
  if (auto removed = downloads_.remove(encoded->blob); !removed) {
    failed(removed.error(), "removing an encoded model");
  }
  return encoded->bytes;
}

// Its work goes on, but nobody hears of it.
void Simulation::Engine::vanish(const DeviceId& learner, double after) {
  timeline_.after(after, [this, learner] {
    present_.erase(learner);
    presence_changed();
  });
  timeline_.after(after + project_.devices.away_seconds, [this, learner] {
    present_.insert(learner);
    presence_changed();
  });
}

void Simulation::Engine::computed(const TaskId& task) {
  const auto found = open_.find(task);
  if (found == open_.end()) {
    return;  // cancelled
  }
  Open& open = found->second;
  auto result = open.computed.get();
  if (!result) {
    const ClusterId node = open.node;
    const rounds::TaskFailed event{open.task.device, task, result.error().what};
    end(task);
    feed(node, event);
    return;
  }
  open.result = *std::move(result);
  if (open.result.measured) {
    measured(open, *open.result.measured);
  }
  if (open.task.kind == TaskKind::evaluate) {
    const ClusterId node = open.node;
    const rounds::Evaluated event{open.task.device, task};
    end(task);
    feed(node, event);
    return;
  }
  timeline_.after(
      project_.devices.latency_seconds + transfer_seconds(open.result.update_bytes, project_.devices.up_mbit),
      [this, task] { arrived(task); });
}

// Of the model that the task named; late ones are of a model whose figures are final.
void Simulation::Engine::measured(const Open& open, const Measurement& measurement) {
  const rounds::RunState& machine = *tree_.node(open.node);
  if (rounds::staleness(machine, machine.participants.at(open.task.device)) > 0) {
    return;
  }
  // In its first round of a cycle a cluster measures the cycle's model before, the global one.
  const bool evaluates = open.task.kind == TaskKind::evaluate;
  const bool global = open.node.empty() || evaluates || open.task.round == machine.first_round;
  const std::int64_t round = evaluates ? open.task.round : open.task.round - 1;
  const std::int64_t of_global = open.node.empty() ? round : (round - 1) / tree_.spec.rounds + 1;
  RoundRecord& of = global ? record({}, of_global) : record(open.node, round);
  of.devices_min = of.devices ? std::min(of.devices_min, measurement.accuracy) : measurement.accuracy;
  of.devices_max = of.devices ? std::max(of.devices_max, measurement.accuracy) : measurement.accuracy;
  of.devices = together(of.devices.value_or(Measurement{}), measurement);
  if (global && !open.node.empty()) {
    Measurement& in_cluster = of.clusters[open.node.str()];
    in_cluster = together(in_cluster, measurement);
  }
}

void Simulation::Engine::arrived(const TaskId& task) {
  const auto found = open_.find(task);
  if (found == open_.end()) {
    return;
  }
  const ClusterId& node = found->second.node;
  const rounds::RunState* const machine = tree_.node(node);
  if (machine != nullptr && machine->phase == rounds::Phase::aggregating) {
    nodes_[node].stored.push_back(task);
  } else if (machine != nullptr && machine->phase == rounds::Phase::fitting) {
    sum_up(task);
  }
}

void Simulation::Engine::sum_up(const TaskId& task) {
  const Open& open = open_.at(task);
  const ClusterId node = open.node;
  const DeviceId device = open.task.device;
  const LearningResult result = open.result;
  const std::int64_t round_now = tree_.node(node)->round;
  const std::int64_t late_by = round_now - open.task.round;
  const algorithms::Contribution work{result.samples, result.steps};
  const std::uint64_t weight =
      aggregation::weight_in_sum(algorithms_.weighing->weight(work), late_by, rounds::takes_late_updates(tree_.spec));
  auto added = nodes_[node].sum->add({open.update, result.update_bytes, open.base}, work, weight);
  end(task);
  if (!added) {
    const bool refused = added.error().kind == ErrorKind::permanent || added.error().kind == ErrorKind::corrupt;
    if (refused) {
      feed(node, rounds::TaskFailed{device, task, fmt::format("update refused: {}", added.error().what)});
    } else {
      failed(added.error(), fmt::format("summing the update of {}", device));
    }
    return;
  }
  RoundRecord& round = record(node, round_now);
  ++round.participants;
  round.late += late_by > 0 ? 1 : 0;
  round.bytes_up += result.update_bytes;
  round.train_loss += (result.train_loss - round.train_loss) / static_cast<double>(round.participants);
  rounds::note_loss(tree_, device, result.train_loss);
  if (result.variate) {
    variates_[device] = result.variate;
  }
  feed(node, rounds::Contributed{device, task});
}

void Simulation::Engine::end(const TaskId& task) {
  const auto found = open_.find(task);
  if (found == open_.end()) {
    return;
  }
  if (found->second.computed.valid()) {
    found->second.cancelled->store(true);
    found->second.computed.wait();  // it writes the file
  }
  std::error_code ignored;
  std::filesystem::remove(found->second.update, ignored);
  open_.erase(found);
}

}  // namespace flops::sim
