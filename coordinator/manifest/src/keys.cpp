// Every key of flops.toml: its type, range and words, and the field of the run specification behind it.
#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/ranges.h>

#include "draft.hpp"
#include "flops/algorithms/spec.hpp"
#include "flops/core/id.hpp"

namespace flops::manifest {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t most = 100'000;  // rounds, devices
constexpr std::chrono::milliseconds shortest_deadline = 10s;
constexpr std::chrono::milliseconds longest_deadline = 168h;

// field of the run specification, key of flops.toml; the longest that fits counts.
constexpr std::pair<std::string_view, std::string_view> keys[] = {
    {"model", "model.builtin"},
    {"data", "data.tag"},
    {"rounds", "training.rounds"},
    {"cycles", "training.cycles"},
    {"seed", "training.seed"},
    {"evaluate", "training.evaluate"},
    {"best_by", "training.best_by"},
    {"schedule", "training.schedule"},
    {"goal", "training.early_stop"},
    {"goal.min_evaluate", "participants.min_evaluate"},
    {"min_fit", "participants.min_fit"},
    {"min_available", "participants.min_available"},
    {"fraction", "participants.fraction"},
    {"over_select", "participants.over_select"},
    {"candidates", "participants.candidates"},
    {"mode", "participants.mode"},
    {"buffer", "participants.buffer"},
    {"requirements", "resources"},
    {"requirements.labels", "participants.labels"},
    {"deadline_seconds", "timing.deadline"},
    {"max_staleness", "timing.max_staleness"},
    {"codec", "transfer.codec"},
    {"clusters", "clusters.by"},
    {"global.deadline_seconds", "global.deadline"},
};

std::string id_problem(const std::string& text) {
  return is_valid_id(text) ? std::string()
                           : fmt::format(
                                 "names have a-z, 0-9, '.', '_', '-', begin with a letter or a digit, and have at "
                                 "most {} characters",
                                 max_id_length);
}

std::string model_problem(const std::string& text) {
  const auto all = builtin_models();
  return std::ranges::find(all, text) != all.end()
             ? std::string()
             : fmt::format("there is no model '{}'; there are {}", text, fmt::join(all, ", "));
}

std::string tag_problem(const std::string& text) {
  const bool one_line = std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return one_line && !text.empty() && text.size() <= max_tag
             ? std::string()
             : fmt::format("expected one line of 1 to {} bytes", max_tag);
}

void bind_project(ConfigSpec& spec, Manifest& manifest) {
  spec.text("project.name", manifest.name, "Name of the project in the fleet", Presence::required, id_problem);
  spec.text("project.description", manifest.description, "What it is for", Presence::optional,
            [](const std::string& text) {
              return text.size() <= max_description ? std::string() : fmt::format("at most {} bytes", max_description);
            });
  spec.texts("project.tags", manifest.tags, max_tags, "Words to find it by", tag_problem);
  spec.text("model.builtin", manifest.run.model, "A model that every trainer has (flopsctl project models)",
            Presence::required, model_problem);
  spec.text("data.tag", manifest.run.data, "Data that devices must have: the tag of a data set in their configuration",
            Presence::required, tag_problem);
}

void bind_training(ConfigSpec& spec, Draft& draft) {
  rounds::RunSpec& run = draft.manifest.run;
  wire::TrainingSpec& training = run.training;
  spec.integer("training.rounds", run.rounds, 1, most, "Aggregations; with clusters those of a cluster in a cycle");
  spec.integer("training.cycles", run.cycles, 1, most, "Aggregations over clusters, of `rounds` rounds each");
  spec.integer("training.epochs", training.epochs, 1, 10'000, "Passes over the local data a round");
  spec.integer("training.steps", training.steps, 0, 1'000'000, "Batches a round instead of epochs; 0: epochs");
  spec.integer("training.batch", training.batch, 1, 65'536, "Samples a step");
  spec.choice("training.optimizer", training.optimizer, {"sgd", "adam"}, "Optimiser on the device: sgd or adam");
  spec.number("training.learning_rate", training.learning_rate, rounds::least_learning_rate, 1000,
              "Of that optimiser, before the schedule");
  spec.number("training.momentum", training.momentum, 0, 1, "Of sgd");
  spec.number("training.weight_decay", training.weight_decay, 0, 1000, "L2 penalty");
  spec.choice("training.loss", training.loss, {"cross_entropy", "mse"},
              "cross_entropy, or mse (of the outputs against the one-hot label)");
  spec.integer("training.seed", draft.seed, 0, std::int64_t{1} << 53U, "Of first parameters, selection and shuffling");
  spec.boolean("training.evaluate", run.evaluate, "Devices measure every model on their own test samples");
  spec.choice("training.best_by", run.best_by, {"accuracy", "loss"}, "What the best model is chosen by, and patience");

  rounds::Schedule& schedule = run.schedule;
  spec.choice("training.schedule.decay", draft.decay, {"constant", "step", "exponential", "cosine"},
              "Learning rate over the rounds: constant, step, exponential or cosine");
  spec.number("training.schedule.factor", schedule.factor, 1e-6, 1, "Of step and exponential");
  spec.integer("training.schedule.every", schedule.every, 1, most, "Rounds of a step");
  spec.integer("training.schedule.warmup", schedule.warmup, 0, most, "Rounds that rise to the full rate first");
  spec.number("training.schedule.floor", schedule.floor, 0, 1000, "Smallest rate");

  rounds::Goal& goal = run.goal;
  spec.number("training.early_stop.accuracy", goal.accuracy, 0, 1, "End with a model of at least this; 0: no target");
  spec.number("training.early_stop.loss", goal.loss, 0, 1e9, "End with a model of at most this; 0: no target");
  spec.integer("training.early_stop.patience", goal.patience, 0, most, "End after so many models without a better one");
  spec.number("training.early_stop.min_change", goal.min_change, 0, 1e9, "By how much better counts as better");
}

void bind_algorithm(ConfigSpec& spec, const std::string& table, AlgorithmDraft& algorithm) {
  std::vector<std::string> names;
  std::ranges::transform(algorithms::all(), std::back_inserter(names),
                         [](const algorithms::Info& info) { return std::string(info.name); });
  spec.choice(table + ".name", algorithm.name, names, "Aggregation (docs/algorithms.md)");
  spec.number(table + ".server_learning_rate", algorithm.server_learning_rate, unset, 1000, "-1: the algorithm's own");
  spec.number(table + ".momentum", algorithm.momentum, unset, 1, "-1: the algorithm's own");
  spec.number(table + ".second_momentum", algorithm.second_momentum, unset, 1, "-1: the algorithm's own");
  spec.number(table + ".adaptivity", algorithm.adaptivity, unset, 1, "-1: the algorithm's own");
  spec.number(table + ".proximal", algorithm.proximal, unset, 1000, "mu of fedprox; -1: the algorithm's own");
}

void bind_clusters(ConfigSpec& spec, Draft& draft) {
  rounds::LevelSpec& level = draft.manifest.run.global;
  spec.text("clusters.by", draft.clusters, "label:NAME, hash:K or sites; empty: a flat run");
  spec.integer("global.min_fit", level.min_fit, 1, rounds::max_clusters, "Clusters a cycle needs");
  spec.integer("global.min_available", draft.global_min_available, unset, rounds::max_clusters,
               "Clusters that must be there to start; -1: min_fit");
  spec.number("global.fraction", level.fraction, 1e-6, 1, "Share of the clusters that are asked in a cycle");
  spec.integer("global.max_staleness", level.max_staleness, 0, rounds::most_staleness,
               "Cycles that a cluster's result may be late");
  spec.duration("global.deadline", draft.global_deadline, shortest_deadline, longest_deadline, "Until a cycle closes");
  bind_algorithm(spec, "global.algorithm", draft.global_algorithm);
}

void bind_participants(ConfigSpec& spec, Draft& draft) {
  rounds::RunSpec& run = draft.manifest.run;
  spec.integer("participants.min_fit", run.min_fit, 1, most, "Updates a round needs");
  spec.integer("participants.min_available", draft.min_available, unset, most,
               "Devices that must be there to start; -1: min_fit, in mode async buffer");
  spec.integer("participants.min_evaluate", run.goal.min_evaluate, 1, most,
               "Devices that have measured a model, or early_stop passes over it");
  spec.number("participants.fraction", run.fraction, 1e-6, 1, "Share of the available devices that train in a round");
  spec.number("participants.over_select", run.over_select, 0, 10,
              "So many more, as a share; the round ends without the slowest");
  spec.integer("participants.candidates", run.candidates, 0, most,
               "Devices of which those with the highest loss train; 0: any");
  spec.choice("participants.mode", draft.mode, {"sync", "async"}, "Rounds (sync), or a model every `buffer` updates");
  spec.integer("participants.buffer", draft.buffer, unset, most, "Mode async; -1: min_fit");
  spec.text_map("participants.labels", run.requirements.labels, "Labels with their values that devices must have");
}

void bind_resources(ConfigSpec& spec, Draft& draft) {
  rounds::Requirements& wanted = draft.manifest.run.requirements;
  constexpr std::int64_t most_mb = 1 << 30;
  spec.integer("resources.memory_mb", wanted.memory_mb, 0, most_mb, "MiB of memory a device must have");
  spec.integer("resources.cores", wanted.cores, 0, 4096, "Cores a device must have");
  spec.integer("resources.storage_mb", wanted.storage_mb, 0, most_mb, "MiB of storage that must be free on it");
  spec.texts("resources.architecture", draft.architecture, 8, "One of these, e.g. aarch64, x86_64; none: any",
             [](const std::string& text) {
               return text.empty() || text.size() > 32 ? "expected a name such as aarch64" : "";
             });
  spec.boolean("resources.accelerator", wanted.accelerator, "It must have an accelerator");
}

}  // namespace

void bind(ConfigSpec& spec, Draft& draft) {
  bind_project(spec, draft.manifest);
  bind_training(spec, draft);
  bind_algorithm(spec, "algorithm", draft.algorithm);
  bind_clusters(spec, draft);
  bind_participants(spec, draft);
  bind_resources(spec, draft);
  spec.duration("timing.deadline", draft.deadline, shortest_deadline, longest_deadline, "Until a round closes");
  spec.integer("timing.max_staleness", draft.max_staleness, unset, rounds::most_staleness,
               "Rounds that an update may be late; -1: 0, in mode async 10");
  spec.choice("transfer.codec", draft.manifest.run.codec, {"lossless"}, "How updates travel");
}

std::string key_of(std::string_view field) {
  std::string_view best_field;
  std::string_view best_key;
  for (const auto& [name, key] : keys) {
    const bool fits = field == name || (field.starts_with(name) && field[name.size()] == '.');
    if (fits && name.size() > best_field.size()) {
      best_field = name;
      best_key = key;
    }
  }
  return best_field.empty() ? std::string(field) : std::string(best_key) + std::string(field.substr(best_field.size()));
}

}  // namespace flops::manifest
