// run start, list, show, stop.
#include "commands.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"
#include "output.hpp"

namespace flops::cli {

namespace json = boost::json;

namespace {

template <class T>
void put(json::object& object, std::string_view name, const std::optional<T>& value) {
  if (value) {
    object[name] = *value;
  }
}

json::value algorithm(const AlgorithmOptions& options) {
  json::object out{{"name", *options.name}};
  put(out, "server_learning_rate", options.server_learning_rate);
  put(out, "momentum", options.momentum);
  put(out, "second_momentum", options.second_momentum);
  put(out, "adaptivity", options.adaptivity);
  put(out, "proximal", options.proximal);
  return out;
}

json::object global_level(const LevelOptions& options) {
  json::object out;
  put(out, "min_fit", options.min_fit);
  put(out, "min_available", options.min_available);
  put(out, "fraction", options.fraction);
  put(out, "max_staleness", options.max_staleness);
  put(out, "deadline_seconds", options.deadline);
  if (options.algorithm) {
    json::object chosen{{"name", *options.algorithm}};
    put(chosen, "server_learning_rate", options.server_learning_rate);
    out["algorithm"] = std::move(chosen);
  }
  return out;
}

json::value specification(const RunOptions& options) {
  json::object training;
  put(training, "epochs", options.epochs);
  put(training, "steps", options.steps);
  put(training, "batch", options.batch);
  put(training, "optimizer", options.optimizer);
  put(training, "learning_rate", options.learning_rate);
  put(training, "momentum", options.momentum);
  put(training, "weight_decay", options.weight_decay);
  put(training, "loss", options.loss);
  json::object spec{{"model", options.model}, {"data", options.data}};
  put(spec, "rounds", options.rounds);
  put(spec, "seed", options.seed);
  put(spec, "min_fit", options.min_fit);
  put(spec, "min_available", options.min_available);
  put(spec, "fraction", options.fraction);
  put(spec, "over_select", options.over_select);
  put(spec, "mode", options.mode);
  put(spec, "buffer", options.buffer);
  put(spec, "max_staleness", options.max_staleness);
  put(spec, "deadline_seconds", options.deadline);
  put(spec, "best_by", options.best_by);
  put(spec, "candidates", options.candidates);
  put(spec, "cycles", options.cycles);
  put(spec, "clusters", options.global.clusters);
  if (json::object global = global_level(options.global); !global.empty()) {
    spec["global"] = std::move(global);
  }
  if (options.algorithm.name) {
    spec["algorithm"] = algorithm(options.algorithm);
  }
  if (options.no_evaluate) {
    spec["evaluate"] = false;
  }
  if (!training.empty()) {
    spec["training"] = std::move(training);
  }
  return spec;
}

}  // namespace

Outcome<> tell_started(const Context& context, const json::value& run, const std::string& of, bool watch) {
  const auto id = report::text_field(run, "id");
  if (!id || !check_id(*id)) {
    return give_up(exit_failed, "the coordinator's answer names no run");
  }
  if (context.format == Format::json && !watch) {
    return print_json(run);
  }
  if (context.format == Format::table) {
    if (auto printed = print(fmt::format("{}run {} started\n", of, *id)); !printed) {
      return printed;
    }
  }
  return watch ? watch_run(context, *id) : exit_ok;
}

Outcome<> start_run(const Context& context, const RunOptions& options) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto run = api->post("/v1/runs", specification(options));
  if (!run) {
    return give_up(run.error());
  }
  return tell_started(context, *run, "", options.watch);
}

Outcome<> list_runs(const Context& context) {
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto answer = api->get("/v1/runs");
  return answer ? show(context, *answer, report::runs_table) : give_up(answer.error());
}

Outcome<> show_run(const Context& context, const std::string& id) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto run = api->get("/v1/runs/" + id);
  return run ? show(context, *run, report::run_details) : give_up(run.error());
}

Outcome<> stop_run(const Context& context, const std::string& id) {
  if (auto checked = check_id(id); !checked) {
    return checked;
  }
  const auto api = context.api();
  if (!api) {
    return give_up(api.error());
  }
  const auto run = api->post("/v1/runs/" + id + "/stop", json::object());
  if (!run) {
    return give_up(run.error());
  }
  if (context.format == Format::json) {
    return print_json(*run);
  }
  return print(
      fmt::format("run {}: {}\n", id, report::printable(report::text_field(*run, "state").value_or("stopping"))));
}

}  // namespace flops::cli
