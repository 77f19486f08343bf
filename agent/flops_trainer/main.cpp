#include <cstdio>
#include <cstdlib>
#include <string>

#include <malloc.h>

#include <CLI/CLI.hpp>

#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/models/model.hpp"
#include "flops/models/runtime.hpp"
#include "flops/models/training.hpp"
#include "flops/worker/worker.hpp"
#include "job_runner.hpp"
#include "sandbox.hpp"

namespace {

constexpr const char* about =
    "Trains and evaluates models on this device, for flops-agent.\n\n"
    "The agent starts this program by itself when a task comes, gives it the model and the place of the data, and "
    "lets\n"
    "it end after an idle time; there is nothing to start by hand. It works without network access, and a crash\n"
    "or a lack of memory here leaves the agent running.\n";
constexpr const char* more =
    "Examples:\n"
    "  flops-trainer models     which models a run may name\n"
    "  flops-trainer examine    what training runs on here\n\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage.\n";

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

struct Arguments {
  int socket = -1;
  double idle_seconds = 120;
  int threads = 0;
  std::string device = "auto";
  bool no_sandbox = false;
};

int list_models() {
  fmt::print("{:<12} {:>11}  {}\n", "MODEL", "PARAMETERS", "WHAT IT IS");
  for (const flops::models::ModelInfo& info : flops::models::zoo()) {
    const auto model = flops::models::Model::create(info.name, 0);
    if (!model) {
      fmt::print(stderr, "flops-trainer: {}\n", model.error().what);
      return exit_failed;
    }
    fmt::print("{:<12} {:>11}  {}\n", info.name, model->layout().parameters(), info.summary);
  }
  return 0;
}

flops::models::DeviceChoice choose_device(const std::string& wanted) {
  return wanted == "cpu" ? flops::models::DeviceChoice() : flops::models::best_device();
}

int examine(const Arguments& arguments) {
  flops::models::configure_runtime(arguments.threads);
  for (const auto& [name, value] : flops::models::runtime_facts(choose_device(arguments.device))) {
    fmt::print("{} {}\n", name, value);
  }
  std::fflush(nullptr);
  return 0;
}

// Every batch allocates and frees the same large tensors. By default glibc gives them back to the kernel each time, and
// zeroing their pages again takes longer than the arithmetic (measured: evaluation is three to nine times faster this
// way). What a job leaves is given back at its end.
void keep_memory_within_a_job() {
  constexpr int no_mappings = 0;
  constexpr int trim_threshold = 1 << 30;
  constexpr int top_pad = 16 << 20;
  (void)::mallopt(M_MMAP_MAX, no_mappings);
  (void)::mallopt(M_TRIM_THRESHOLD, trim_threshold);
  (void)::mallopt(M_TOP_PAD, top_pad);
}

int work(const Arguments& arguments) {
  flops::log::start("flops-trainer", flops::log::Level::info);
  flops::models::configure_runtime(arguments.threads);
  const flops::models::DeviceChoice choice = choose_device(arguments.device);
  if (arguments.device == "cuda" && choice.device != flops::models::Device::cuda) {
    flops::log::warn("device", "training on the CPU: {}", choice.reason);
  }
  if (arguments.no_sandbox) {
    flops::log::warn("sandbox", "--no-sandbox: models and data are read with all rights of this user");
  } else if (auto inside = flops::enter_sandbox(); !inside) {
    flops::log::error("sandbox", "{}", inside.error().what);
    return exit_failed;
  }
  keep_memory_within_a_job();
  flops::JobRunner runner(choice.device);
  const flops::worker::WorkerOptions options{
      arguments.socket, std::chrono::milliseconds(static_cast<std::int64_t>(arguments.idle_seconds * 1e3))};
  if (auto done = flops::worker::run_worker(options, runner); !done) {
    flops::log::error("worker", "{}", done.error().what);
    return exit_failed;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(about, "flops-trainer");
  app.footer(more);
  app.set_version_flag("--version", "flops-trainer " + std::string(flops::version));
  Arguments arguments;
  const auto* const socket =
      app.add_option("--worker-fd", arguments.socket, "Work for the agent at the other end of this socket")
          ->check(CLI::Range(3, 1'000'000));
  app.add_option("--idle-seconds", arguments.idle_seconds, "Worker: end after so long without a job")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "Worker: compute threads; 0: one per core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--device", arguments.device, "Train on this; auto: CUDA where it works, else the CPU")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app.add_flag("--no-sandbox", arguments.no_sandbox,
               "Worker: keep all rights; only for emulators, which do not know seccomp");
  const auto* const models = app.add_subcommand("models", "List the built-in models");
  const auto* const examining =
      app.add_subcommand("examine", "Show what training runs on here: LibTorch, device, BLAS, threads");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  if (models->parsed()) {
    return list_models();
  }
  if (examining->parsed()) {
    std::_Exit(examine(arguments));
  }
  if (socket->count() == 0) {
    fmt::print("{}", app.help());
    return exit_usage;
  }
  const int status = work(arguments);
  std::fflush(nullptr);
  // No static destructors: LibTorch's take time and do nothing for a process without state.
  std::_Exit(status);
}
