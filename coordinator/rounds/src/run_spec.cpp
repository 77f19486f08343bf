#include "flops/rounds/run_spec.hpp"

#include <algorithm>
#include <vector>

#include <boost/json.hpp>

#include "spec_conditions.hpp"
#include "spec_fields.hpp"

namespace flops::rounds {
namespace {

// Beyond it devices refuse to train.
constexpr double max_rate = 1000;

void read_training(const json::value* value, wire::TrainingSpec& training, SpecFrom from,
                   std::vector<std::string>& problems) {
  if (value == nullptr) {
    return;
  }
  if (!value->is_object()) {
    problems.emplace_back("training: expected an object");
    return;
  }
  Fields fields(value->get_object(), problems, "training.");
  fields.integer("epochs", training.epochs, 1, 10'000);
  fields.integer("batch", training.batch, 1, 65'536);
  fields.choice("optimizer", training.optimizer, {"sgd", "adam"});
  fields.number("learning_rate", training.learning_rate, 1e-12, from == SpecFrom::request ? max_rate : wire::max_rate);
  fields.number("momentum", training.momentum, 0, 1);
  fields.number("weight_decay", training.weight_decay, 0, from == SpecFrom::request ? max_rate : wire::max_rate);
  fields.choice("loss", training.loss, {"cross_entropy", "mse"});
  fields.integer("steps", training.steps, 0, 1'000'000);
  if (from == SpecFrom::request && training.optimizer == "adam" && training.momentum != 0) {
    fields.wrong("momentum", "only for sgd; adam has its own");
  }
  fields.refuse_unknown();
}

void read_members(Fields& fields, std::string_view name, const json::value& devices, Grouping& grouping,
                  std::set<DeviceId>& all) {
  const auto cluster = ClusterId::parse(name);
  const auto* array = devices.if_array();
  if (!cluster || array == nullptr || array->empty()) {
    fields.wrong("clusters", cluster ? fmt::format("'{}': expected a list of devices", name) : cluster.error().what);
    return;
  }
  for (const json::value& element : *array) {
    const auto* text = element.if_string();
    auto device = DeviceId::parse(text == nullptr ? std::string_view() : std::string_view(text->data(), text->size()));
    if (!device) {
      fields.wrong("clusters", fmt::format("'{}': {}", name, device.error().what));
    } else if (!all.insert(*device).second) {
      fields.wrong("clusters", fmt::format("device '{}' stands in two places", *device));
    } else {
      grouping.members[*cluster].insert(*std::move(device));
    }
  }
}

json::value clusters_value(const Grouping& grouping) {
  if (grouping.by != Grouping::By::list) {
    return json::value(grouping.text());
  }
  json::object out;
  for (const auto& [cluster, devices] : grouping.members) {
    json::array names;
    for (const DeviceId& device : devices) {
      names.emplace_back(device.str());
    }
    out[cluster.str()] = std::move(names);
  }
  return out;
}

// A name, or an object with a name and constants.
void read_algorithm(const json::value* value, algorithms::Spec& spec, std::string_view key,
                    std::vector<std::string>& problems) {
  if (value == nullptr) {
    return;
  }
  if (const auto* name = value->if_string()) {
    spec = algorithms::defaults(std::string_view(name->data(), name->size()));
  } else if (value->is_object()) {
    Fields fields(value->get_object(), problems, fmt::format("{}.", key));
    fields.text("name", spec.name, 32, true);
    spec = algorithms::defaults(spec.name);
    fields.number("server_learning_rate", spec.server_learning_rate, 0, max_rate);
    fields.number("momentum", spec.momentum, 0, 1);
    fields.number("second_momentum", spec.second_momentum, 0, 1);
    fields.number("adaptivity", spec.adaptivity, 0, 1);
    fields.number("proximal", spec.proximal, 0, max_rate);
    fields.refuse_unknown();
  } else {
    problems.push_back(fmt::format("{}: expected a name or an object", key));
    return;
  }
  if (auto checked = algorithms::check(spec); !checked) {
    problems.push_back(fmt::format("{}: {}", key, checked.error().what));
  }
}

json::object algorithm_object(const algorithms::Spec& spec) {
  return {{"name", spec.name},
          {"server_learning_rate", spec.server_learning_rate},
          {"momentum", spec.momentum},
          {"second_momentum", spec.second_momentum},
          {"adaptivity", spec.adaptivity},
          {"proximal", spec.proximal}};
}

void check_algorithms(Fields& fields, const RunSpec& spec) {
  const bool flat = spec.clusters.by == Grouping::By::nothing;
  const std::string& name = spec.algorithm.name;
  const bool plain_sgd = spec.training.optimizer == "sgd" && spec.training.momentum == 0;
  const bool counts_steps = name == "scaffold" || name == "fednova" || weighing_algorithm(spec).name == "fednova";
  if (counts_steps && !plain_sgd) {
    fields.wrong("algorithm", "scaffold and fednova count steps of plain sgd: optimizer sgd, momentum 0");
  }
  if (name == "scaffold" && (!flat || takes_late_updates(spec))) {
    fields.wrong("algorithm", "scaffold is for flat runs without late updates");
  }
  const bool steps_on_top = name != "fedavg" && name != "fedprox";
  if (!flat && spec.rounds == 1 && steps_on_top) {
    fields.wrong("algorithm", fmt::format("with one round a cycle only the global step is taken: give {} as "
                                          "global.algorithm",
                                          name));
  }
  const std::string& global = spec.global.algorithm.name;
  if (global == "scaffold" || global == "fedprox") {
    fields.wrong("global.algorithm", fmt::format("{} is for devices: give it as algorithm", global));
  }
  if (!flat && global == "fednova" && spec.rounds > 1) {
    fields.wrong("global.algorithm", "fednova needs one round a cycle: clusters count no steps");
  }
  if (spec.clusters.by == Grouping::By::sites && global == "fednova") {
    fields.wrong("global.algorithm", "fednova needs the steps of each device, which sites do not tell");
  }
}

void read_mode(Fields& fields, RunSpec& spec) {
  std::string mode(to_string(spec.mode));
  fields.choice("mode", mode, {to_string(Mode::sync), to_string(Mode::async)});
  if (mode == to_string(Mode::async)) {
    spec.mode = Mode::async;
    spec.max_staleness = async_max_staleness;
    spec.buffer = spec.min_fit;
    fields.integer("buffer", spec.buffer, 1, 100'000);
  } else if (fields.find("buffer") != nullptr) {
    fields.wrong("buffer", "only for mode async");
  }
  fields.integer("max_staleness", spec.max_staleness, 0, most_staleness);
}

// "label:NAME", "hash:K", "sites", or an object of clusters with lists of their devices.
void read_clusters(Fields& fields, Grouping& grouping) {
  const json::value* value = fields.find("clusters");
  if (value == nullptr) {
    return;
  }
  if (const auto* text = value->if_string()) {
    auto parsed = Grouping::parse(std::string_view(text->data(), text->size()));
    if (parsed) {
      grouping = *std::move(parsed);
    } else {
      fields.wrong("clusters", parsed.error().what);
    }
    return;
  }
  const auto* object = value->if_object();
  if (object == nullptr || object->empty() || object->size() > static_cast<std::size_t>(max_clusters)) {
    fields.wrong("clusters", fmt::format("expected text or an object of 1 to {} clusters", max_clusters));
    return;
  }
  grouping.by = Grouping::By::list;
  std::set<DeviceId> all;
  for (const auto& [name, devices] : *object) {
    read_members(fields, name, devices, grouping, all);
  }
}

void read_global(const json::value* value, LevelSpec& level, std::vector<std::string>& problems) {
  if (value == nullptr) {
    return;
  }
  if (!value->is_object()) {
    problems.emplace_back("global: expected an object");
    return;
  }
  Fields fields(value->get_object(), problems, "global.");
  fields.integer("min_fit", level.min_fit, 1, max_clusters);
  level.min_available = level.min_fit;
  fields.integer("min_available", level.min_available, 1, max_clusters);
  fields.number("fraction", level.fraction, 1e-6, 1);
  fields.integer("max_staleness", level.max_staleness, 0, most_staleness);
  fields.integer("deadline_seconds", level.deadline_seconds, 10, 604'800);
  read_algorithm(fields.find("algorithm"), level.algorithm, "global.algorithm", problems);
  if (level.min_available < level.min_fit) {
    fields.wrong("min_available", "must not be smaller than min_fit");
  }
  fields.refuse_unknown();
}

void check_levels(Fields& fields, const RunSpec& spec, bool has_global) {
  constexpr std::int64_t most_rounds = 100'000;
  if (spec.cycles * spec.rounds > most_rounds) {
    fields.wrong("cycles",
                 fmt::format("{} cycles of {} rounds are more than {} rounds", spec.cycles, spec.rounds, most_rounds));
  }
  const bool flat = spec.clusters.by == Grouping::By::nothing;
  if (flat && has_global) {
    fields.wrong("global", "only for a run with clusters");
  }
  if (!flat && spec.mode == Mode::async) {
    fields.wrong("clusters", "only for mode sync");
  }
}

void check_together(Fields& fields, const RunSpec& spec) {
  if (spec.min_available < spec.min_fit) {
    fields.wrong("min_available", "must not be smaller than min_fit");
  }
  if (spec.mode == Mode::sync) {
    return;
  }
  // A device contributes once to a buffer: with fewer devices than that it would never be full.
  if (spec.min_available < spec.buffer) {
    fields.wrong("min_available", "must not be smaller than buffer");
  }
  if (spec.buffer < spec.min_fit) {
    fields.wrong("buffer", "must not be smaller than min_fit");
  }
  if (spec.fraction < 1) {
    fields.wrong("fraction", "only for mode sync; async asks every device");
  }
  if (spec.candidates > 0) {
    fields.wrong("candidates", "only for mode sync; async asks every device");
  }
  if (spec.over_select > 0) {
    fields.wrong("over_select", "only for mode sync; async asks every device");
  }
}

// What a run ends by or trains with must be measured and possible.
void check_conditions(Fields& fields, const RunSpec& spec) {
  const Goal& goal = spec.goal;
  if (!goal.empty() && !spec.evaluate) {
    fields.wrong("goal", "needs models to be measured: evaluate");
  }
  if (goal.empty() && goal != Goal()) {
    fields.wrong("goal", "names no goal: accuracy, loss or patience");
  }
  if (spec.schedule.floor > spec.training.learning_rate) {
    fields.wrong("schedule.floor", "must not be larger than training.learning_rate");
  }
  const std::int64_t rounds = spec.schedule.rounds > 0 ? spec.schedule.rounds : spec.cycles * spec.rounds;
  if (spec.schedule.warmup >= rounds) {
    fields.wrong("schedule.warmup", fmt::format("must be less than the {} rounds of the run", rounds));
  }
}

}  // namespace

std::string_view to_string(Mode mode) {
  return mode == Mode::async ? "async" : "sync";
}

const algorithms::Spec& weighing_algorithm(const RunSpec& spec) {
  const bool handed_up = spec.clusters.by == Grouping::By::sites || (spec.clusters.inside() && spec.rounds == 1);
  return handed_up ? spec.global.algorithm : spec.algorithm;
}

bool takes_late_updates(const RunSpec& spec) {
  const bool of_devices = spec.max_staleness > 0 && spec.clusters.by != Grouping::By::sites;
  return of_devices || spec.global.max_staleness > 0;
}

double learning_rate(const RunSpec& spec, std::int64_t round) {
  return learning_rate(spec.schedule, spec.training.learning_rate, spec.cycles * spec.rounds, round);
}

Result<RunSpec> parse_run_spec(std::string_view text, SpecFrom from) {
  json::parse_options options;
  options.max_depth = 4;
  json::error_code error;
  const json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "a run specification is a JSON object{}{}", error ? ": " : "",
                error ? error.message() : "");
  }
  RunSpec spec;
  std::vector<std::string> problems;
  Fields fields(value.get_object(), problems, "");
  fields.text("model", spec.model, 64, true);
  fields.text("data", spec.data, 64, true);
  fields.integer("rounds", spec.rounds, 1, 100'000);
  fields.integer("cycles", spec.cycles, 1, 100'000);
  fields.integer("seed", spec.seed, 0, 1LL << 53U);
  fields.integer("min_fit", spec.min_fit, 1, 100'000);
  read_mode(fields, spec);
  spec.min_available = std::max(spec.min_fit, spec.buffer);
  fields.integer("min_available", spec.min_available, 1, 100'000);
  fields.number("fraction", spec.fraction, 1e-6, 1);
  fields.number("over_select", spec.over_select, 0, 10);
  fields.integer("deadline_seconds", spec.deadline_seconds, 10, 604'800);
  fields.boolean("evaluate", spec.evaluate);
  fields.choice("best_by", spec.best_by, {"accuracy", "loss"});
  fields.choice("codec", spec.codec, {"lossless"});
  read_training(fields.find("training"), spec.training, from, problems);
  fields.integer("candidates", spec.candidates, 0, 100'000);
  read_algorithm(fields.find("algorithm"), spec.algorithm, "algorithm", problems);
  read_clusters(fields, spec.clusters);
  const json::value* const global = fields.find("global");
  read_global(global, spec.global, problems);
  read_schedule(fields.find("schedule"), spec.schedule, problems);
  read_goal(fields.find("goal"), spec.goal, problems);
  read_requirements(fields.find("requirements"), spec.requirements, problems);
  fields.refuse_unknown();
  check_together(fields, spec);
  check_conditions(fields, spec);
  check_levels(fields, spec, global != nullptr);
  check_algorithms(fields, spec);
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  return spec;
}

std::string to_json(const RunSpec& spec) {
  json::object out{
      {"model", spec.model},
      {"data", spec.data},
      {"rounds", spec.rounds},
      {"seed", spec.seed},
      {"min_fit", spec.min_fit},
      {"min_available", spec.min_available},
      {"fraction", spec.fraction},
      {"over_select", spec.over_select},
      {"mode", to_string(spec.mode)},
      {"max_staleness", spec.max_staleness},
      {"deadline_seconds", spec.deadline_seconds},
      {"evaluate", spec.evaluate},
      {"codec", spec.codec},
      {"training", json::object{{"epochs", spec.training.epochs},
                                {"batch", spec.training.batch},
                                {"optimizer", spec.training.optimizer},
                                {"learning_rate", spec.training.learning_rate},
                                {"momentum", spec.training.momentum},
                                {"weight_decay", spec.training.weight_decay},
                                {"loss", spec.training.loss},
                                {"steps", spec.training.steps}}},
  };
  if (spec.mode == Mode::async) {
    out["buffer"] = spec.buffer;
  }
  if (spec.cycles != 1) {
    out["cycles"] = spec.cycles;
  }
  if (spec.best_by != RunSpec().best_by) {
    out["best_by"] = spec.best_by;
  }
  if (spec.candidates != 0) {
    out["candidates"] = spec.candidates;
  }
  if (spec.algorithm != algorithms::Spec()) {
    out["algorithm"] = algorithm_object(spec.algorithm);
  }
  if (spec.clusters.by != Grouping::By::nothing) {
    out["clusters"] = clusters_value(spec.clusters);
    out["global"] = {{"min_fit", spec.global.min_fit},
                     {"min_available", spec.global.min_available},
                     {"fraction", spec.global.fraction},
                     {"max_staleness", spec.global.max_staleness},
                     {"deadline_seconds", spec.global.deadline_seconds},
                     {"algorithm", algorithm_object(spec.global.algorithm)}};
  }
  if (spec.schedule != Schedule()) {
    out["schedule"] = schedule_object(spec.schedule);
  }
  if (!spec.goal.empty()) {
    out["goal"] = goal_object(spec.goal);
  }
  if (!spec.requirements.empty()) {
    out["requirements"] = requirements_object(spec.requirements);
  }
  return json::serialize(out);
}

}  // namespace flops::rounds
