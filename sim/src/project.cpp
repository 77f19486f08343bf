#include "flops/sim/project.hpp"

#include <algorithm>
#include <optional>

#include "flops/algorithms/spec.hpp"
#include "flops/core/config.hpp"
#include "flops/partition/split.hpp"

namespace flops::sim {
namespace {

constexpr std::int64_t most_devices = 100'000;
constexpr std::int64_t unset = -1;

// What a file may say, before it becomes a project. Numbers whose default depends on others are unset at first.
// An algorithm's constants; unset: its own defaults.
struct AlgorithmDraft {
  std::string name = "fedavg";
  double server_learning_rate = -1;
  double momentum = -1;
  double second_momentum = -1;
  double adaptivity = -1;
  double proximal = -1;
};

struct Draft {
  Project project;
  AlgorithmDraft algorithm;
  AlgorithmDraft global_algorithm;
  std::int64_t global_min_available = unset;
  std::int64_t seed = 1;
  std::string mode = "sync";
  std::int64_t min_available = unset;
  std::int64_t buffer = unset;
  std::int64_t max_staleness = unset;
};

void add_run(ConfigSpec& spec, Draft& draft) {
  rounds::RunSpec& run = draft.project.run;
  spec.text("run.model", run.model, "Model of the zoo");
  spec.integer("run.rounds", run.rounds, 1, 100'000, "Aggregations; with clusters those of a cluster in a cycle");
  spec.integer("run.cycles", run.cycles, 1, 100'000, "Aggregations over clusters");
  spec.integer("run.seed", draft.seed, 0, 1LL << 53U, "Of the split, the first parameters, selection and shuffling");
  spec.integer("run.min_fit", run.min_fit, 1, most_devices, "Updates a round needs");
  spec.integer("run.min_available", draft.min_available, unset, most_devices,
               "Learners that must be there before the run starts; -1: min_fit");
  spec.number("run.fraction", run.fraction, 1e-6, 1, "Share of the learners that train in a round");
  spec.integer("run.candidates", run.candidates, 0, most_devices,
               "Learners of which those with the highest loss train (power-of-choice); 0: any");
  spec.number("run.over_select", run.over_select, 0, 10,
              "So many more, as a share; the round ends without the slowest");
  spec.choice("run.mode", draft.mode, {"sync", "async"}, "Rounds, or an aggregation every `buffer` updates");
  spec.integer("run.buffer", draft.buffer, unset, most_devices, "Mode async; -1: min_fit");
  spec.integer("run.max_staleness", draft.max_staleness, unset, rounds::most_staleness,
               "Rounds after its own in which an update counts; -1: 0, in mode async 10");
  spec.integer("run.deadline_seconds", run.deadline_seconds, 10, 604'800, "Virtual: then a round with min_fit closes");
  spec.boolean("run.evaluate", run.evaluate, "Learners measure every model on their own test samples");
}

void add_training(ConfigSpec& spec, wire::TrainingSpec& training) {
  spec.integer("training.epochs", training.epochs, 1, 10'000, "Passes over the local data a round");
  spec.integer("training.steps", training.steps, 0, 1'000'000, "Batches a round instead of epochs; 0: epochs");
  spec.integer("training.batch", training.batch, 1, 65'536, "Samples a step");
  spec.choice("training.optimizer", training.optimizer, {"sgd", "adam"}, "Local optimiser");
  spec.number("training.learning_rate", training.learning_rate, 1e-12, 1000, "Of the local optimiser");
  spec.number("training.momentum", training.momentum, 0, 1, "Of sgd");
  spec.number("training.weight_decay", training.weight_decay, 0, 1000, "L2 penalty");
  spec.choice("training.loss", training.loss, {"cross_entropy", "mse"}, "Loss");
}

void add_algorithm(ConfigSpec& spec, const std::string& table, const std::string& name, AlgorithmDraft& algorithm) {
  std::vector<std::string> names;
  for (const algorithms::Info& info : algorithms::all()) {
    names.emplace_back(info.name);
  }
  spec.choice(table + "." + name, algorithm.name, names, "docs/algorithms.md has them");
  spec.number(table + ".server_learning_rate", algorithm.server_learning_rate, -1, 1000, "-1: the algorithm's own");
  spec.number(table + ".momentum", algorithm.momentum, -1, 1, "-1: the algorithm's own");
  spec.number(table + ".second_momentum", algorithm.second_momentum, -1, 1, "-1: the algorithm's own");
  spec.number(table + ".adaptivity", algorithm.adaptivity, -1, 1, "-1: the algorithm's own");
  spec.number(table + ".proximal", algorithm.proximal, -1, 1000, "mu of fedprox; -1: the algorithm's own");
}

void add_clusters(ConfigSpec& spec, Draft& draft) {
  rounds::LevelSpec& level = draft.project.run.global;
  spec.integer("clusters.count", draft.project.clusters, 0, rounds::max_clusters,
               "Clusters over which the learners are dealt in turn; 0: a flat run");
  spec.integer("global.min_fit", level.min_fit, 1, rounds::max_clusters, "Clusters a cycle needs");
  spec.integer("global.min_available", draft.global_min_available, unset, rounds::max_clusters, "-1: min_fit");
  spec.number("global.fraction", level.fraction, 1e-6, 1, "Share of the clusters that are asked in a cycle");
  spec.integer("global.max_staleness", level.max_staleness, 0, rounds::most_staleness,
               "Cycles after its own in which a cluster's result counts");
  spec.integer("global.deadline_seconds", level.deadline_seconds, 10, 604'800,
               "Virtual: then a cycle with min_fit clusters closes");
  add_algorithm(spec, "global", "algorithm", draft.global_algorithm);
}

void add_fleet(ConfigSpec& spec, Project& project) {
  spec.path("data.folder", project.data, "An IDX data set, split over the learners");
  spec.path("data.parts", project.parts, "Instead: a folder with one folder a learner, each with an IDX data set");
  spec.text("data.partition", project.partition, "iid, dirichlet:A, shards:K or powerlaw:K");
  spec.integer("data.learners", project.learners, 1, partition::max_devices, "Over how many the data set is split");
  DeviceProfile& devices = project.devices;
  spec.number("devices.samples_per_second", devices.samples_per_second, 1e-3, 1e9, "Training speed");
  spec.number("devices.speed_spread", devices.speed_spread, 0, 3, "Standard deviation of the speed's logarithm");
  spec.number("devices.up_mbit", devices.up_mbit, 0, 1e6, "Uplink in Mbit/s; 0: no time");
  spec.number("devices.down_mbit", devices.down_mbit, 0, 1e6, "Downlink in Mbit/s; 0: no time");
  spec.number("devices.latency_seconds", devices.latency_seconds, 0, 3600, "Of every message");
  spec.number("devices.dropout", devices.dropout, 0, 1, "Probability that a device vanishes during a task");
  spec.number("devices.away_seconds", devices.away_seconds, 0, 1e7, "For how long");
  spec.number("devices.stragglers", devices.stragglers, 0, 1,
              "Share of the tasks that get through a part of their epochs only");
  spec.boolean("devices.stragglers_answer", devices.stragglers_answer, "With that part; false: they never answer");
}

void add_evaluation(ConfigSpec& spec, Project& project) {
  spec.boolean("evaluation.central", project.central_evaluation, "Measure models on the whole test split");
  spec.integer("evaluation.every", project.evaluate_every, 1, 100'000, "Rounds");
  spec.number("evaluation.target_accuracy", project.target_accuracy, 0, 1,
              "Central accuracy that ends the run; 0: none");
}

void add_all(ConfigSpec& spec, Draft& draft) {
  add_run(spec, draft);
  add_training(spec, draft.project.run.training);
  add_algorithm(spec, "algorithm", "name", draft.algorithm);
  add_clusters(spec, draft);
  add_fleet(spec, draft.project);
  add_evaluation(spec, draft.project);
}

algorithms::Spec finish(const AlgorithmDraft& draft) {
  algorithms::Spec spec = algorithms::defaults(draft.name);
  const auto set = [](double& target, double value) { target = value < 0 ? target : value; };
  set(spec.server_learning_rate, draft.server_learning_rate);
  set(spec.momentum, draft.momentum);
  set(spec.second_momentum, draft.second_momentum);
  set(spec.adaptivity, draft.adaptivity);
  set(spec.proximal, draft.proximal);
  return spec;
}

void finish_clusters(const Draft& draft, Project& project) {
  rounds::LevelSpec& level = project.run.global;
  level.min_available = draft.global_min_available == unset ? level.min_fit : draft.global_min_available;
  level.algorithm = finish(draft.global_algorithm);
  if (project.clusters > 0) {
    project.run.clusters.by = rounds::Grouping::By::hash;  // until the learners' names are known
    project.run.clusters.count = project.clusters;
  }
}

Result<Project> finish(Draft draft) {
  Project& project = draft.project;
  rounds::RunSpec& run = project.run;
  run.data = "simulated";
  run.seed = static_cast<std::uint64_t>(draft.seed);
  const bool async = draft.mode == "async";
  run.mode = async ? rounds::Mode::async : rounds::Mode::sync;
  run.buffer = async ? (draft.buffer == unset ? run.min_fit : draft.buffer) : 0;
  run.max_staleness = draft.max_staleness != unset ? draft.max_staleness : (async ? rounds::async_max_staleness : 0);
  run.min_available = draft.min_available == unset ? std::max(run.min_fit, run.buffer) : draft.min_available;
  if (run.model.empty()) {
    return fail(ErrorKind::permanent, "run.model: is missing (flops-trainer models lists them)");
  }
  if (project.data.empty() == project.parts.empty()) {
    return fail(ErrorKind::permanent, "one of data.folder and data.parts is needed");
  }
  run.algorithm = finish(draft.algorithm);
  finish_clusters(draft, project);
  // The rules that a coordinator has for a run.
  auto checked = rounds::parse_run_spec(rounds::to_json(run));
  return checked ? Result<Project>(std::move(project)) : fail(checked.error(), "run");
}

}  // namespace

Result<Project> Project::load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Draft draft;
  ConfigSpec spec("flops-sim");
  add_all(spec, draft);
  if (auto loaded = spec.load(file); !loaded) {
    return fail(loaded.error());
  }
  for (const std::string& line : overrides) {
    if (auto set = spec.set(line, file.parent_path()); !set) {
      return fail(set.error(), "--set");
    }
  }
  return finish(std::move(draft));
}

std::string Project::reference() {
  Draft draft;
  ConfigSpec spec("flops-sim");
  add_all(spec, draft);
  return spec.reference();
}

}  // namespace flops::sim
