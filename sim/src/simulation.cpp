#include "flops/sim/simulation.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "engine.hpp"
#include "flops/models/training.hpp"

namespace flops::sim {
namespace {

// A new folder, in memory when there is a file system for that.
Result<std::filesystem::path> make_folder(const std::filesystem::path& wanted) {
  std::error_code error;
  std::filesystem::path parent = wanted;
  if (parent.empty()) {
    const std::filesystem::path memory = "/dev/shm";
    parent = std::filesystem::is_directory(memory, error) ? memory : std::filesystem::temp_directory_path(error);
  }
  std::string name = (parent / "flops-sim-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return fail(errno_error(errno, fmt::format("making a folder in {}", parent.string())));
  }
  std::filesystem::create_directories(std::filesystem::path(name) / "models", error);
  return error ? Result<std::filesystem::path>(fail(errno_error(error.value(), "making the folder for models")))
               : Result<std::filesystem::path>(name);
}

// Learners are dealt to the clusters in turn: c1, c2, ..., c1 again.
void group(Project& project, const Population& population) {
  if (project.clusters == 0) {
    return;
  }
  rounds::Grouping& grouping = project.run.clusters;
  grouping = {};
  grouping.by = rounds::Grouping::By::list;
  for (const DeviceId& learner : population.names()) {
    const std::string name =
        fmt::format("c{}", population.number(learner) % static_cast<std::size_t>(project.clusters) + 1);
    grouping.members[rounds::ClusterId::parse(name).value_or(rounds::ClusterId())].insert(learner);
  }
}

}  // namespace

Simulation::Simulation(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Simulation::Simulation(Simulation&&) noexcept = default;
Simulation::~Simulation() = default;

Result<Simulation> Simulation::create(const Project& project, const Options& options) {
  auto population = Population::load(project);
  if (!population) {
    return fail(population.error());
  }
  auto algorithms = Algorithms::of(project.run);
  if (!algorithms) {
    return fail(algorithms.error());
  }
  auto folder = make_folder(options.folder);
  if (!folder) {
    return fail(folder.error());
  }
  auto downloads = blob::FileStore::open(*folder / "downloads", blob::Keep::until_restart);
  if (!downloads) {
    return fail(downloads.error());
  }
  models::configure_runtime(1);  // learners are spread over the cores, and a model never depends on their number
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int threads = options.threads > 0 ? options.threads : cores;
  Project grouped = project;
  group(grouped, *population);
  return Simulation(std::make_unique<Engine>(std::move(grouped), *std::move(population), *std::move(algorithms),
                                             *std::move(folder), *std::move(downloads), threads));
}

Result<Summary> Simulation::run(const OnRound& on_round, const Interrupted& interrupted) {
  return engine_->run(on_round, interrupted);
}

Result<> Simulation::write_model(const std::filesystem::path& to) const {
  return engine_->copy_model(to);
}

}  // namespace flops::sim
