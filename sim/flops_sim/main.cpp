// flops-sim: the command line.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "flops/core/config.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/sim/report.hpp"
#include "flops/sim/simulation.hpp"
#include "flops/trainer/compute_environment.hpp"

namespace {

using namespace flops;

constexpr int exit_failure = 1;
constexpr int exit_usage = 64;  // EX_USAGE

constexpr const char* about =
    "Simulates federated learning: the decisions, sums, codecs and training of FLOps Edge with any number of virtual\n"
    "learners in one process and in virtual time. Equal projects give equal models, on any number of cores.\n";
constexpr const char* footer = R"(
Example: McMahan's 2NN over 100 learners, ten a round, until 97 % of the test images are recognised.
  cat > mnist.toml <<END
  [run]
  model = "2nn"
  fraction = 0.1
  rounds = 100
  [training]
  batch = 10
  learning_rate = 0.1
  [data]
  folder = "mnist"      # IDX files
  learners = 100
  [evaluation]
  target_accuracy = 0.97
  END
  flops-sim run mnist.toml --csv rounds.csv
  flops-sim run mnist.toml --set data.partition=shards:2 --set run.rounds=300

Exit status: 0 the run finished or reached its target, 1 it failed, 64 wrong command line, 78 wrong project.)";

volatile std::sig_atomic_t interrupted = 0;

struct Arguments {
  std::filesystem::path project;
  std::vector<std::string> overrides;
  std::optional<std::uint64_t> seed;
  sim::Options options;
  std::filesystem::path csv, json, model;
  bool quiet = false;
};

// LibTorch's libraries have read their environment by now: the program starts anew with the one that trainers get.
// Where that is not possible it goes on, only slower.
void take_compute_environment(char** argv) {
  constexpr const char* done = "FLOPS_COMPUTE_ENVIRONMENT";
  if (std::getenv(done) != nullptr) {
    return;
  }
  for (const auto& [name, value] : trainer::compute_environment(1)) {
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  ::setenv(done, "set", 1);
  ::execv("/proc/self/exe", argv);
}

int report(const Error& error, int code = exit_failure) {
  fmt::print(stderr, "flops-sim: {}\n", error.what);
  return code;
}

Result<> write(const std::filesystem::path& file, const std::string& text) {
  return file.empty() ? Result<>() : replace_file(file, text);
}

Result<> write_results(const Arguments& arguments, const sim::Project& project, const sim::Simulation& simulation,
                       const sim::Summary& summary) {
  if (auto written = write(arguments.csv, sim::to_csv(summary)); !written) {
    return written;
  }
  if (auto written = write(arguments.json, sim::to_json(project, summary)); !written) {
    return written;
  }
  return arguments.model.empty() ? Result<>() : simulation.write_model(arguments.model);
}

int run(Arguments arguments) {
  if (arguments.seed) {
    arguments.overrides.push_back(fmt::format("run.seed = {}", *arguments.seed));
  }
  const auto project = sim::Project::load(arguments.project, arguments.overrides);
  if (!project) {
    return report(project.error(), exit_bad_configuration);
  }
  auto simulation = sim::Simulation::create(*project, arguments.options);
  if (!simulation) {
    return report(simulation.error());
  }
  if (!arguments.quiet) {
    fmt::print("{}", sim::round_heading());
  }
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  const auto summary = simulation->run(
      [&](const sim::RoundRecord& record) {
        if (!arguments.quiet) {
          fmt::print("{}", sim::round_line(record));
          std::fflush(stdout);
        }
      },
      [] { return interrupted != 0; });
  if (!summary) {
    return report(summary.error());
  }
  if (auto written = write_results(arguments, *project, *simulation, *summary); !written) {
    return report(written.error());
  }
  fmt::print("{}{}{}; model {}; {:.1f} s\n", summary->state, summary->reason.empty() ? "" : ": ", summary->reason,
             summary->model.hex(), summary->seconds);
  return summary->state == "failed" ? exit_failure : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(about, "flops-sim");
  app.footer(footer);
  app.set_version_flag("--version", "flops-sim " + std::string(version));
  app.require_subcommand(1);
  Arguments arguments;
  CLI::App* const start = app.add_subcommand("run", "Simulate a project");
  start->add_option("PROJECT", arguments.project, "Project file (TOML); see flops-sim reference")->required();
  start->add_option("--set", arguments.overrides, "Another value for a key of the project, such as run.rounds=10");
  start->add_option("--seed", arguments.seed, "Another seed");
  start->add_option("--threads", arguments.options.threads, "Threads; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  start->add_option("--folder", arguments.options.folder, "Where models under way are kept (in memory)");
  start->add_option("--csv", arguments.csv, "Write a line a round to this file");
  start->add_option("--json", arguments.json, "Write everything to this file");
  start->add_option("--model", arguments.model, "Write the last model to this file, as safetensors");
  start->add_flag("--quiet", arguments.quiet, "Only the last line");
  const auto* const reference = app.add_subcommand("reference", "Print all keys of a project with their defaults");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  log::start("flops-sim", log::Level::warn);
  int status = 0;
  if (reference->parsed()) {
    fmt::print("{}", sim::Project::reference());
  } else {
    take_compute_environment(argv);
    status = run(std::move(arguments));
  }
  std::fflush(nullptr);
  // No static destructors: LibTorch's take time and do nothing for a process without state.
  std::_Exit(status);
}
