// Clusters, cycles, algorithms and selection.
#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace flops;
using namespace flops::test;

namespace {

std::vector<std::string> with(std::vector<std::string> some, std::initializer_list<const char*> more) {
  some.insert(some.end(), more.begin(), more.end());
  return some;
}

std::uint64_t bytes_up(const std::vector<sim::RoundRecord>& records) {
  std::uint64_t sum = 0;
  for (const sim::RoundRecord& record : records) {
    sum += record.bytes_up;
  }
  return sum;
}

}  // namespace

TEST_CASE("levels: with one round a cycle the model is that of the flat run, however learners are grouped") {
  const TemporaryFolder folder;
  for (const char* algorithm : {"fedavg", "fedadam", "fednova"}) {
    CAPTURE(algorithm);
    const std::vector<std::string> flat = {"run.rounds = 3"};
    const std::string name = std::string(" = ") + algorithm;
    const auto expected = simulated(project_of(folder, {"run.rounds = 3", "algorithm.name" + name})).model;
    for (const char* count : {"clusters.count = 2", "clusters.count = 4"}) {
      const auto grouped = simulated(project_of(
          folder, {"run.rounds = 1", "run.cycles = 3", count, "global.min_fit = 2", "global.algorithm" + name}));
      CHECK(grouped.model == expected);
      CHECK(grouped.rounds.size() == 3);
    }
  }
}

TEST_CASE("levels: cycles measure the global model, by device, by cluster and overall") {
  const TemporaryFolder folder;
  const auto summary = simulated(project_of(
      folder, {"run.rounds = 2", "run.cycles = 3", "clusters.count = 3", "run.evaluate = true", "global.min_fit = 3"}));
  CHECK(summary.state == "finished");
  REQUIRE(summary.rounds.size() == 3);
  CHECK(summary.cluster_rounds.size() == 3 * 3 * 2);
  for (const sim::RoundRecord& cycle : summary.rounds) {
    CHECK(cycle.participants == 3);
    REQUIRE(cycle.devices);
    REQUIRE(cycle.central);
    CHECK(cycle.devices->samples == 100);
    CHECK(cycle.devices->accuracy == doctest::Approx(cycle.central->accuracy));
    REQUIRE(cycle.clusters.size() == 3);
    double sum = 0;
    for (const auto& [cluster, measured] : cycle.clusters) {
      sum += measured.accuracy * static_cast<double>(measured.samples);
    }
    CHECK(sum / 100 == doctest::Approx(cycle.devices->accuracy));
  }
  // A cluster's own model is measured after its first round, by the learners of the second.
  for (const sim::RoundRecord& round : summary.cluster_rounds) {
    CHECK(round.devices.has_value() == (round.round % 2 == 1));
  }
}

TEST_CASE("levels: upstream bytes of a cycle are one result a cluster, however many rounds and devices it has") {
  const TemporaryFolder folder;
  const auto flat = simulated(project_of(folder, {"run.rounds = 8"}));
  const std::vector<std::string> grouped = {"clusters.count = 2", "global.min_fit = 2"};
  const auto often = simulated(project_of(folder, with(grouped, {"run.rounds = 1", "run.cycles = 8"})));
  const auto rarely = simulated(project_of(folder, with(grouped, {"run.rounds = 4", "run.cycles = 2"})));
  // What devices send is the same: 8 rounds of 12.
  CHECK(bytes_up(often.cluster_rounds) == bytes_up(flat.rounds));
  // Each cycle sends 2 sums of 12 bytes a parameter before compression, or 2 models of 4.
  CHECK(bytes_up(often.rounds) <= 8 * 2 * (7850 * 12 + 1000));
  CHECK(bytes_up(rarely.rounds) <= 2 * 2 * (7850 * 4 + 1000));
  CHECK(bytes_up(often.rounds) > 3 * bytes_up(rarely.rounds));
}

TEST_CASE("levels: a cluster that is late counts in a later cycle, or not at all") {
  const TemporaryFolder folder;
  for (const char* rounds : {"run.rounds = 1", "run.rounds = 2"}) {
    CAPTURE(rounds);
    const std::vector<std::string> slow = {rounds,
                                           "run.cycles = 5",
                                           "clusters.count = 3",
                                           "global.min_fit = 1",
                                           "devices.samples_per_second = 2",
                                           "devices.speed_spread = 0.6",
                                           "global.deadline_seconds = 60",
                                           "run.deadline_seconds = 600"};
    const auto dropped = simulated(project_of(folder, slow));
    const auto counted = simulated(project_of(folder, with(slow, {"global.max_staleness = 5"})));
    std::int64_t late = 0;
    for (const sim::RoundRecord& cycle : counted.rounds) {
      late += cycle.late;
    }
    CHECK(dropped.state == "finished");
    CHECK(counted.state == "finished");
    CHECK(std::ranges::all_of(dropped.rounds, [](const auto& cycle) { return cycle.late == 0; }));
    CHECK(late > 0);
    CHECK(counted.model != dropped.model);
    CHECK(simulated(project_of(folder, with(slow, {"global.max_staleness = 5"})), 1).model == counted.model);
  }
}

TEST_CASE("algorithms: each makes another model, learns, and does not depend on threads") {
  const TemporaryFolder folder;
  std::set<Digest> models;
  for (const char* name : {"fedavg", "fedavgm", "fedprox", "fedadam", "fedyogi", "fedadagrad", "fednova", "scaffold"}) {
    CAPTURE(name);
    std::vector<std::string> options = {std::string("algorithm.name = ") + name, "run.rounds = 12",
                                        "data.partition = dirichlet:0.5"};
    if (std::string_view(name) == "fedprox") {
      options.emplace_back("algorithm.proximal = 0.1");
    }
    const auto summary = simulated(project_of(folder, options), 2);
    CHECK(simulated(project_of(folder, options), 1).model == summary.model);
    CHECK(summary.rounds.back().central->accuracy > 0.7);
    models.insert(summary.model);
  }
  CHECK(models.size() == 8);
}

TEST_CASE("selection: by loss is another choice, and does not depend on threads") {
  const TemporaryFolder folder;
  const std::vector<std::string> few = {"run.fraction = 0.25", "run.rounds = 8", "data.partition = dirichlet:0.2"};
  const auto chosen = with(few, {"run.candidates = 12"});
  const auto summary = simulated(project_of(folder, chosen));
  CHECK(summary.model != simulated(project_of(folder, few)).model);
  CHECK(summary.model == simulated(project_of(folder, chosen), 1).model);
}
