#include "command_line.hpp"

#include <CLI/CLI.hpp>

#include "flops/core/version.hpp"
#include "flops/manual/manual.hpp"
#include "flops/partition/split.hpp"
#include "line.hpp"
#include "output.hpp"

namespace flops::cli {

namespace {

constexpr const char* footer =
    "Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 not found; 4 denied (401, 403, untrusted\n"
    "certificate); 5 coordinator unreachable or not ready; 6 the watched run failed or was stopped;\n"
    "78 bad configuration; 130 interrupted, 143 terminated.\n"
    "\n"
    "The coordinator is named by --coordinator, --ca and --token-file, or by coordinator, ca and token_file in\n"
    "flopsctl.toml: --config FILE, else $FLOPSCTL_CONFIG, else ~/.config/flops/flopsctl.toml. Flags win.";

void add_global_options(CLI::App& app, Line& line) {
  app.add_option("-o,--format", line.format, "Output: table or json")
      ->check(CLI::IsMember({"table", "json"}).description(""))
      ->option_text("table|json (table)");
  app.add_option("--coordinator", line.context.settings.coordinator, "Address of the coordinator's HTTPS API")
      ->option_text("URL");
  app.add_option("--ca", line.context.settings.ca, "Certificate of the fleet's CA (PEM)")->option_text("FILE");
  app.add_option("--token-file", line.context.settings.token_file, "File with the bearer token")->option_text("FILE");
  app.add_option("--config", line.context.settings.config, "Configuration file")->option_text("FILE");
  app.set_version_flag("--version", std::string(version));
}

void add_training_options(CLI::App& start, RunOptions& run) {
  start.add_option("--epochs", run.epochs, "Passes over the local data a round")->check(CLI::Range(1, 10'000));
  start.add_option("--steps", run.steps, "Batches a round, instead of --epochs")->check(CLI::Range(0, 1'000'000));
  start.add_option("--batch", run.batch, "Samples a step")->check(CLI::Range(1, 65'536));
  start.add_option("--lr", run.learning_rate, "Learning rate")->check(CLI::PositiveNumber);
  start.add_option("--momentum", run.momentum, "Momentum of SGD")->check(CLI::Range(0.0, 1.0));
  start.add_option("--weight-decay", run.weight_decay, "L2 penalty")->check(CLI::NonNegativeNumber);
  start.add_option("--optimizer", run.optimizer, "Local optimiser")->check(CLI::IsMember({"sgd", "adam"}));
  start.add_option("--loss", run.loss, "Loss")->check(CLI::IsMember({"cross_entropy", "mse"}));
}

void add_dropout_options(CLI::App& start, RunOptions& run) {
  start.add_option("--fraction", run.fraction, "Share of the available devices that train (1.0)")
      ->check(CLI::Range(1e-6, 1.0));
  start
      .add_option("--candidates", run.candidates,
                  "Draw so many devices, and of them ask those with the highest loss (0)")
      ->check(CLI::Range(0, 100'000));
  start.add_option("--over-select", run.over_select, "Ask so many more, as a share, and go on without the slowest (0)")
      ->check(CLI::Range(0.0, 10.0));
  start.add_option("--deadline", run.deadline, "Seconds until a round closes (600)")->check(CLI::Range(10, 604'800));
  start.add_option("--mode", run.mode, "Rounds, or an aggregation every --buffer updates (sync)")
      ->check(CLI::IsMember({"sync", "async"}).description(""))
      ->option_text("sync|async");
  start.add_option("--buffer", run.buffer, "Updates that close a round of mode async (min-fit)")
      ->check(CLI::Range(1, 100'000));
  start.add_option("--max-staleness", run.max_staleness, "Rounds that an update may be late (sync 0, async 10)")
      ->check(CLI::Range(0, 1000));
}

// Their ranges depend on the algorithm: the coordinator says what is wrong.
void add_algorithm_options(CLI::App& start, AlgorithmOptions& algorithm) {
  CLI::Option* name = start.add_option("--algorithm", algorithm.name,
                                       "fedavg, fedavgm, fedprox, fedadam, fedyogi, fedadagrad (fedavg)");
  const auto constant = [&](const char* option, std::optional<double>& value, const char* text) {
    start.add_option(option, value, text)->needs(name);
  };
  constant("--server-lr", algorithm.server_learning_rate, "Learning rate of the server's step");
  constant("--server-momentum", algorithm.momentum, "Momentum of the server's step, beta1 of fedadam and fedyogi");
  constant("--second-momentum", algorithm.second_momentum, "beta2 of fedadam and fedyogi");
  constant("--adaptivity", algorithm.adaptivity, "tau of fedadam, fedyogi and fedadagrad");
  constant("--mu", algorithm.proximal, "How much fedprox keeps devices near the model they started from");
}

void add_level_options(CLI::App& start, RunOptions& run) {
  LevelOptions& global = run.global;
  start.add_option("--cycles", run.cycles, "Global aggregations, of --rounds rounds each (1)")
      ->check(CLI::Range(1, 100'000));
  CLI::Option* clusters = start.add_option(
      "--clusters", global.clusters, "Group devices: label:NAME or hash:K, or sites; --min-fit and so on are of each");
  const auto of_clusters = [&](const char* option, auto& value, const char* text) {
    return start.add_option(option, value, text)->needs(clusters);
  };
  of_clusters("--global-min-fit", global.min_fit, "Clusters a cycle needs (1)");
  of_clusters("--global-min-available", global.min_available, "Clusters that must be there to start (global-min-fit)");
  of_clusters("--global-fraction", global.fraction, "Share of the available clusters that are asked (1.0)");
  of_clusters("--global-max-staleness", global.max_staleness, "Cycles that a cluster may be late (0)");
  of_clusters("--global-deadline", global.deadline, "Seconds until a cycle closes (3600)");
  CLI::Option* algorithm = of_clusters("--global-algorithm", global.algorithm, "Algorithm of the cycles (fedavg)");
  start.add_option("--global-server-lr", global.server_learning_rate, "Learning rate of the cycles' step")
      ->needs(algorithm);
}

void add_run_start(CLI::App& group, Line& line) {
  RunOptions& run = line.run;
  CLI::App* start =
      add_command(group, line, "start", "Start a run", [&line] { return start_run(line.context, line.run); });
  start->add_option("--model", run.model, "Model of the zoo")->required();
  start->add_option("--data", run.data, "Data tag that devices must have")->required();
  start->add_option("--rounds", run.rounds, "Rounds, of each cycle (5)")->check(CLI::Range(1, 100'000));
  start->add_option("--seed", run.seed, "Seed of parameters and shuffling (1)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53));
  start->add_option("--min-fit", run.min_fit, "Updates a round needs (2)")->check(CLI::Range(1, 100'000));
  start->add_option("--min-available", run.min_available, "Devices that must be online to start (min-fit)")
      ->check(CLI::Range(1, 100'000));
  add_dropout_options(*start, run);
  add_training_options(*start, run);
  add_algorithm_options(*start, run.algorithm);
  add_level_options(*start, run);
  start->add_flag("--no-evaluate", run.no_evaluate, "Do not measure every aggregated model");
  start->add_option("--best-by", run.best_by, "Metric of the run's best model: accuracy or loss (accuracy)")
      ->check(CLI::IsMember({"accuracy", "loss"}));
  start->add_flag("--watch", run.watch, "Follow the run; exits 6 when it fails or is stopped");
}

void add_run_commands(CLI::App& app, Line& line) {
  CLI::App* run = add_group(app, "run", "Training runs");
  add_run_start(*run, line);
  add_command(*run, line, "list", "List runs", [&line] { return list_runs(line.context); });
  const auto with_id = [&](const char* name, const char* text,
                           Outcome<> (*command)(const Context&, const std::string&)) {
    add_command(*run, line, name, text, [&line, command] { return command(line.context, line.id); })
        ->add_option("ID", line.id, "Run id")
        ->required();
  };
  with_id("show", "Show one run and its rounds", show_run);
  with_id("watch", "Print each round as it completes; exits 6 when the run fails or is stopped", watch_run);
  with_id("stop", "Stop a run", stop_run);
}

void add_model_commands(CLI::App& app, Line& line) {
  CLI::App* model = add_group(app, "model", "Models that runs made");
  add_command(*model, line, "list", "List models", [&line] { return list_models(line.context); });
  CLI::App* get = add_command(*model, line, "get", "Fetch a model as a safetensors file",
                              [&line] { return get_model(line.context, line.id, line.best, line.file); });
  get->add_option("MODEL", line.id, "Digest, its first digits, or a run")->required();
  get->add_flag("--best", line.best, "Of a run: its best model by its metric, instead of its last one");
  get->add_option("--output", line.file, "Where to write it")->required()->option_text("FILE");
}

void add_dataset_commands(CLI::App& app, Line& line) {
  PartitionOptions& options = line.partition;
  CLI::App* dataset = add_group(app, "dataset", "Data sets on this machine");
  CLI::App* partition = add_command(*dataset, line, "partition", "Split a labelled IDX data set over devices",
                                    [&line] { return partition_dataset(line.context, line.partition); });
  partition->add_option("--source", options.source, "Folder with IDX files, or fashion-mnist")->required();
  partition->add_option("--devices", options.devices, "How many devices")
      ->required()
      ->check(CLI::Range(1U, partition::max_devices));
  partition->add_option("--partition", options.scheme, "iid, dirichlet:A, shards:K or powerlaw:K")
      ->capture_default_str();
  partition->add_option("--seed", options.seed, "Equal seeds give equal splits")->capture_default_str();
  partition->add_option("--out", options.out, "Folder to write to; must be empty or new")
      ->required()
      ->option_text("DIR");
  partition->add_option("--prefix", options.prefix, "Devices are called PREFIX1, PREFIX2, ...")->capture_default_str();
}

manual::Page manual_page() {
  return {
      "runs, devices and models of a FLOps Edge fleet",
      {{"~/.config/flops/flopsctl.toml", "The coordinator's address, its CA and the token: what the options name."}},
      {"flops-coordinator", "flops-agent"}};
}

int report_failure(const Failure& failure) {
  fmt::print(stderr, "flopsctl: {}\n", failure.message);
  if (failure.code == exit_usage) {
    fmt::print(stderr, "'flopsctl --help' tells more.\n");
  }
  return failure.code;
}

}  // namespace

int run_command_line(int argc, char** argv, Interruption& interruption) {
  Line line;
  line.context.interruption = &interruption;
  CLI::App app("flopsctl: runs, devices and models of a FLOps Edge fleet", "flopsctl");
  app.require_subcommand(1);
  app.footer(footer);
  add_global_options(app, line);
  add_fleet_commands(app, line);
  add_project_commands(app, line);
  add_run_commands(app, line);
  add_model_commands(app, line);
  add_dataset_commands(app, line);
  const manual::Commands about(app, manual_page());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? exit_ok : exit_usage;
  }
  if (const auto text = about.answer()) {
    const Outcome<> printed = print(*text);
    return printed ? *printed : report_failure(printed.error());
  }
  line.context.format = line.format == "json" ? Format::json : Format::table;
  const Outcome<> outcome = line.command();
  return outcome ? *outcome : report_failure(outcome.error());
}

}  // namespace flops::cli
