// A small data set on disk and projects over it.
#pragma once

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "flops/sim/simulation.hpp"
#include "flops/test/digits.hpp"

namespace flops::test {

// train-images.idx3-ubyte and the other three.
inline void write_set(const std::filesystem::path& folder, std::uint32_t train, std::uint32_t test,
                      std::uint32_t seed = 1) {
  std::filesystem::create_directories(folder);
  for (const auto& [name, count, of] : {std::tuple("train", train, seed), std::tuple("test", test, seed + 1000)}) {
    write_digits(folder, name, count, of);
    const std::string start = (folder / name).string();
    std::filesystem::rename(start + "-images", start + "-images.idx3-ubyte");
    std::filesystem::rename(start + "-labels", start + "-labels.idx1-ubyte");
  }
}

inline sim::Project project_of(const TemporaryFolder& folder, const std::vector<std::string>& overrides = {}) {
  if (!std::filesystem::exists(folder / "set")) {
    write_set(folder / "set", 600, 100);
  }
  write_bytes(folder / "project.toml",
              "[run]\nmodel = \"softmax\"\nrounds = 4\nmin_fit = 3\nevaluate = false\n"
              "[training]\nlearning_rate = 0.1\nbatch = 10\n"
              "[data]\nfolder = \"set\"\nlearners = 12\n");
  auto project = sim::Project::load(folder / "project.toml", overrides);
  REQUIRE_MESSAGE(project, (project ? "" : project.error().what));
  return *project;
}

inline sim::Summary simulated(const sim::Project& project, int threads = 2) {
  auto simulation = sim::Simulation::create(project, {.threads = threads, .folder = {}});
  REQUIRE_MESSAGE(simulation, (simulation ? "" : simulation.error().what));
  auto summary = simulation->run({});
  REQUIRE_MESSAGE(summary, (summary ? "" : summary.error().what));
  return *summary;
}

}  // namespace flops::test
