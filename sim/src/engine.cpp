// The machines' events and actions.
#include "engine.hpp"

#include <algorithm>
#include <utility>

#include <sys/resource.h>

#include "flops/aggregation/weight.hpp"

namespace flops::sim {

using rounds::Phase;

Result<Algorithms> Algorithms::of(const rounds::RunSpec& spec) {
  auto devices = algorithms::make(spec.algorithm);
  auto clusters = algorithms::make(spec.global.algorithm);
  auto weighing = algorithms::make(rounds::weighing_algorithm(spec));
  for (const auto* made : {&devices, &clusters, &weighing}) {
    if (!*made) {
      return fail(made->error());
    }
  }
  return Algorithms{*std::move(devices), *std::move(clusters), *std::move(weighing)};
}

Simulation::Engine::Engine(Project project, Population population, Algorithms algorithms, std::filesystem::path folder,
                           blob::FileStore downloads, int threads)
    : project_(std::move(project)),
      population_(std::move(population)),
      algorithms_(std::move(algorithms)),
      folder_(std::move(folder)),
      downloads_(std::move(downloads)),
      models_(folder_ / "models"),
      tree_(rounds::make_tree(RunId::parse("run-1").value_or(RunId()), project_.run)),  // a coordinator's first run
      present_(population_.names()),
      pool_(threads) {
  for (std::size_t thread = 0; thread < pool_.threads(); ++thread) {
    learnings_.emplace_back(population_, project_.run.model);
  }
  for (const DeviceId& learner : population_.names()) {
    ++members_[rounds::cluster_of(project_.run.clusters, learner, {})];
  }
}

Simulation::Engine::~Engine() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Result<Summary> Simulation::Engine::run(const OnRound& on_round, const Interrupted& interrupted) {
  on_round_ = &on_round;
  begun_ = SystemClock().steady();
  presence_changed();
  while (!over_ && !error_ && !timeline_.empty()) {
    timeline_.step();
    if (interrupted && interrupted()) {
      feed({}, rounds::StopRequested{});
      tree_.top.reason = "interrupted";
    }
  }
  if (error_) {
    return fail(*error_);
  }
  Summary summary;
  summary.state = rounds::to_string(tree_.top.phase);
  summary.reason = tree_.top.reason;
  summary.model = newest_;
  summary.parameters = parameters_;
  for (auto& [place, record] : records_) {
    (place.first.empty() ? summary.rounds : summary.cluster_rounds).push_back(record);
  }
  summary.virtual_seconds = timeline_.seconds();
  summary.seconds = seconds();
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) == 0) {
    summary.peak_rss_kb = used.ru_maxrss;
  }
  return summary;
}

void Simulation::Engine::feed(const ClusterId& node, const rounds::Event& event) {
  if (over_ || error_) {
    return;
  }
  round_before_.clear();
  round_before_[{}] = tree_.top.round;
  for (const auto& [cluster, part] : tree_.parts) {
    round_before_[cluster] = part.round;
  }
  carry_out(rounds::on_event(tree_, node, event, timeline_.now()));
}

void Simulation::Engine::presence_changed() {
  if (over_ || error_) {
    return;
  }
  std::map<ClusterId, std::set<DeviceId>> devices;
  if (tree_.flat()) {
    devices[{}] = present_;
  } else {
    for (const DeviceId& learner : present_) {
      devices[rounds::cluster_of(tree_.spec.clusters, learner, {})].insert(learner);
    }
  }
  carry_out(rounds::on_available(tree_, std::move(devices), timeline_.now()));
}

void Simulation::Engine::carry_out(const std::vector<rounds::NodeAction>& actions) {
  for (const rounds::NodeAction& one : actions) {
    if (!error_ && !over_) {
      std::visit([&](const auto& action) { perform(one.node, action); }, one.action);
    }
  }
  std::erase_if(nodes_, [this](const auto& entry) { return tree_.node(entry.first) == nullptr; });
  plan_deadlines();
}

void Simulation::Engine::plan_deadlines() {
  if (over_) {
    return;
  }
  const auto plan = [this](const ClusterId& node, const rounds::RunState& state) {
    const bool has_one =
        state.phase == Phase::initialising || state.phase == Phase::fitting || state.phase == Phase::evaluating;
    if (has_one && std::exchange(nodes_[node].deadline_planned, state.deadline) != state.deadline) {
      timeline_.at(state.deadline, [this, node] { feed(node, rounds::Tick{}); });
    }
  };
  plan({}, tree_.top);
  for (const auto& [cluster, part] : tree_.parts) {
    plan(cluster, part);
  }
}

void Simulation::Engine::failed(const Error& error, std::string_view doing) {
  if (!error_) {
    error_ = error.within(doing);
  }
}

void Simulation::Engine::perform(const ClusterId& node, const rounds::CancelTask& action) {
  if (open_.contains(action.task)) {
    ++record(node, std::max<std::int64_t>(round_before_[node], 1)).dropped;
    end(action.task);
  }
}

void Simulation::Engine::perform(const ClusterId& node, const rounds::OpenRound& action) {
  const rounds::RunState* const machine = tree_.node(node);
  if (machine == nullptr) {
    return;  // over already
  }
  const Digest base = machine->model;
  if (!node.empty() && action.round == machine->first_round) {
    // The site fetches the global model.
    const DeviceId site = DeviceId::parse(node.str()).value_or(DeviceId());
    record({}, tree_.top.round).bytes_down += download_bytes(site, base);
    held_[site] = base;
    states_.erase(node);  // a cluster begins each cycle anew
  }
  auto sum = aggregation::RoundSum::open(models_, base);
  if (!sum) {
    failed(sum.error(), fmt::format("opening round {}", action.round));
    return;
  }
  nodes_[node].sum = *std::move(sum);
  for (const TaskId& task : std::exchange(nodes_[node].stored, {})) {
    timeline_.after(0, [this, task] { arrived(task); });
  }
  if (node.empty()) {
    for (const ClusterId& cluster : std::exchange(handing_up_, {})) {
      timeline_.after(0, [this, cluster] { perform(cluster, rounds::HandUp{}); });
    }
  }
}

void Simulation::Engine::perform(const ClusterId& node, const rounds::CloseRound& action) {
  const Digest base = tree_.node(node)->model;
  auto model = close(node);
  if (!model) {
    failed(model.error(), fmt::format("closing round {}", action.round));
    return;
  }
  if (auto loaded = load_version(model->digest, base); !loaded) {
    failed(loaded.error(), "reading the new model");
    return;
  }
  closing_.insert(model->digest);
  close_record(node, action.round, *model);
  bool reached = false;
  if (node.empty()) {
    newest_ = model->digest;
    const auto& central = record(node, action.round).central;
    reached = project_.target_accuracy > 0 && central && central->accuracy >= project_.target_accuracy;
  }
  timeline_.after(0, [this, node, digest = model->digest, reached] {
    closing_.erase(digest);
    if (reached) {
      feed(node, rounds::StopRequested{});
      tree_.top.reason = "the target accuracy is reached";
    } else {
      feed(node, rounds::Aggregated{digest});
      drop_old_versions();
    }
  });
}

// A cluster is done with its part of the cycle.
void Simulation::Engine::perform(const ClusterId& node, const rounds::HandUp&) {
  if (tree_.node(node) == nullptr) {
    return;
  }
  if (tree_.top.phase != Phase::fitting) {
    handing_up_.push_back(node);
    return;
  }
  if (auto done = hand_up(node); !done) {
    failed(done.error(), fmt::format("adding what cluster {} hands up", node));
    return;
  }
  timeline_.after(0, [this, node] { feed(node, rounds::HandedUp{}); });
}

Result<> Simulation::Engine::hand_up(const ClusterId& node) {
  const rounds::RunState& part = *tree_.node(node);
  Node& cluster = nodes_[node];
  const auto participant = DeviceId::parse(node.str());
  const rounds::Participant& asked = tree_.top.participants.at(participant.value_or(DeviceId()));
  const std::int64_t late_by = rounds::staleness(tree_.top, asked);
  const auto bytes = bytes_handed_up(node);
  if (!bytes) {
    return fail(bytes.error());
  }
  RoundRecord& cycle = record({}, tree_.top.round);
  ++cycle.participants;
  cycle.late += late_by > 0 ? 1 : 0;
  cycle.bytes_up += *bytes;
  RoundRecord& last = record(node, rounds::last_round(part));
  last.virtual_seconds = timeline_.seconds();
  last.seconds = seconds();
  cycle.train_loss += (last.train_loss - cycle.train_loss) / static_cast<double>(cycle.participants);
  aggregation::RoundSum& top = *nodes_[{}].sum;
  const bool sum_goes_up = part.spec.rounds == 1;
  if (sum_goes_up && late_by == 0) {
    return top.merge(*cluster.sum);
  }
  Digest model = part.model;
  algorithms::Totals totals = cluster.totals;
  if (sum_goes_up) {
    totals = cluster.sum->totals();
    auto mean = cluster.sum->close(models_);
    if (!mean) {
      return fail(mean.error());
    }
    model = mean->digest;
  }
  // The work of all devices in the cluster's last round, as that of one participant.
  const algorithms::Contribution work{totals.samples, (totals.sample_steps + totals.samples / 2) / totals.samples};
  const std::uint64_t weight =
      aggregation::weight_in_sum(algorithms_.clusters->weight(work), late_by, rounds::takes_late_updates(tree_.spec));
  return top.add_model(model, asked.base, work, weight);
}

// What a site would send to the level above.
Result<std::uint64_t> Simulation::Engine::bytes_handed_up(const ClusterId& node) {
  const rounds::RunState& part = *tree_.node(node);
  if (part.spec.rounds > 1) {
    return encoded_bytes(part.model, tree_.top.participants.at(DeviceId::parse(node.str()).value_or(DeviceId())).base);
  }
  std::uint64_t bytes = 0;
  auto written = nodes_[node].sum->write([&](std::span<const std::byte> block) {
    bytes += block.size();
    return Result<>();
  });
  return written ? Result<std::uint64_t>(bytes) : fail(written.error());
}

}  // namespace flops::sim
