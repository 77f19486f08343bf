#include <algorithm>

#include <doctest/doctest.h>

#include "fixture.hpp"
#include "flops/sim/report.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("simulation: learners learn, and every round is recorded") {
  const TemporaryFolder folder;
  const auto summary = simulated(project_of(folder, {"run.evaluate = true"}));
  CHECK(summary.state == "finished");
  CHECK(summary.parameters == 7850);
  REQUIRE(summary.rounds.size() == 4);
  for (const sim::RoundRecord& record : summary.rounds) {
    CHECK(record.participants == 12);
    CHECK(record.late == 0);
    CHECK(record.bytes_up > 12 * 4 * 7850 / 2);
    CHECK(record.bytes_down > 0);
    REQUIRE(record.central);
    CHECK(record.central->samples == 100);
    REQUIRE(record.devices);
    CHECK(record.devices->samples == 100);
    // Everybody's test samples together are the whole test split.
    CHECK(record.devices->accuracy == doctest::Approx(record.central->accuracy));
    CHECK(record.devices->loss == doctest::Approx(record.central->loss));
    CHECK(record.devices_min <= record.devices->accuracy);
    CHECK(record.devices_max >= record.devices->accuracy);
  }
  CHECK(summary.rounds.back().central->accuracy > 0.9);
  CHECK(summary.rounds.back().train_loss < summary.rounds.front().train_loss);
}

TEST_CASE("simulation: equal projects give equal models and times, on any number of threads; another seed does not") {
  const TemporaryFolder folder;
  for (const char* mode : {"run.fraction = 0.5", "run.mode = async"}) {
    CAPTURE(mode);
    const std::vector<std::string> others = {mode, "devices.speed_spread = 0.7", "devices.dropout = 0.2"};
    const auto project = project_of(folder, others);
    const auto one = simulated(project, 1);
    const auto three = simulated(project, 3);
    CHECK(one.model == three.model);
    CHECK(one.virtual_seconds == three.virtual_seconds);
    auto another = project;
    another.run.seed = 2;
    CHECK(simulated(another).model != one.model);
  }
}

TEST_CASE("simulation: virtual time is what devices and links take, and slow devices set the pace") {
  const TemporaryFolder folder;
  const auto quick = simulated(project_of(folder, {"devices.samples_per_second = 100"}));
  // 50 samples a learner, alike on all devices: half a second a round.
  CHECK(quick.virtual_seconds == doctest::Approx(4 * 0.5));
  const auto far = simulated(project_of(folder, {"devices.samples_per_second = 100", "devices.up_mbit = 0.1"}));
  CHECK(far.virtual_seconds > quick.virtual_seconds + 1);
  CHECK(far.model == quick.model);
  const auto mixed = simulated(project_of(folder, {"devices.samples_per_second = 100", "devices.speed_spread = 0.7"}));
  CHECK(mixed.virtual_seconds > quick.virtual_seconds + 1);
  CHECK(mixed.model == quick.model);  // all are waited for
}

TEST_CASE("simulation: with over-selection a round does not wait for the slowest") {
  const TemporaryFolder folder;
  const std::vector<std::string> slow = {"devices.samples_per_second = 100", "devices.speed_spread = 0.7",
                                         "run.fraction = 0.5"};
  auto hurried = slow;
  hurried.emplace_back("run.over_select = 0.5");
  const auto waits = simulated(project_of(folder, slow));
  const auto goes_on = simulated(project_of(folder, hurried));
  CHECK(goes_on.virtual_seconds < waits.virtual_seconds);
  for (const sim::RoundRecord& record : goes_on.rounds) {
    CHECK(record.participants == 6);
    CHECK(record.dropped == 3);
  }
}

TEST_CASE("simulation: devices that vanish come back, and late updates count when the run takes them") {
  const TemporaryFolder folder;
  const std::vector<std::string> flaky = {"devices.dropout = 0.4", "devices.away_seconds = 900",
                                          "run.deadline_seconds = 10", "run.rounds = 6"};
  const auto dropped = simulated(project_of(folder, flaky));
  CHECK(dropped.state == "finished");
  const auto late = [](const sim::Summary& summary) {
    std::int64_t sum = 0;
    for (const auto& record : summary.rounds) {
      sum += record.late;
    }
    return sum;
  };
  CHECK(late(dropped) == 0);
  auto patient = flaky;
  patient.insert(patient.end(), {"run.max_staleness = 1000", "devices.away_seconds = 15", "run.rounds = 8"});
  const auto folded = simulated(project_of(folder, patient));
  CHECK(folded.state == "finished");
  CHECK(late(folded) > 0);
}

TEST_CASE("simulation: stragglers answer with a part of their epochs, or not at all") {
  const TemporaryFolder folder;
  const std::vector<std::string> slow = {"devices.stragglers = 0.5", "training.epochs = 20",
                                         "run.deadline_seconds = 30", "run.min_fit = 1"};
  auto silent = slow;
  silent.emplace_back("devices.stragglers_answer = false");
  const auto all = simulated(project_of(folder, slow));
  const auto some = simulated(project_of(folder, silent));
  for (std::size_t n = 0; n < all.rounds.size(); ++n) {
    CHECK(all.rounds[n].participants == 12);
    CHECK(some.rounds[n].participants < 12);
    CHECK(some.rounds[n].participants + some.rounds[n].dropped == 12);
  }
  CHECK(all.virtual_seconds < 4 * 30);
  CHECK(some.virtual_seconds == doctest::Approx(4 * 30));
}

TEST_CASE("simulation: it ends at the target, and when it is interrupted, with what there is") {
  const TemporaryFolder folder;
  SUBCASE("target") {
    const auto summary = simulated(project_of(folder, {"evaluation.target_accuracy = 0.8", "run.rounds = 100"}));
    CHECK(summary.state == "stopped");
    CHECK(summary.reason == "the target accuracy is reached");
    REQUIRE(summary.rounds.size() < 50);
    CHECK(summary.rounds.back().central->accuracy >= 0.8);
    CHECK_FALSE(summary.model.empty());
  }
  SUBCASE("interrupted") {
    auto simulation = sim::Simulation::create(project_of(folder, {"run.rounds = 1000"}), {});
    REQUIRE(simulation);
    int rounds = 0;
    const auto summary = simulation->run([&](const auto&) { ++rounds; }, [&] { return rounds >= 3; });
    REQUIRE(summary);
    CHECK(summary->state == "stopped");
    CHECK(summary->reason == "interrupted");
    CHECK(rounds == 3);
    REQUIRE(simulation->write_model(folder / "model.safetensors"));
    CHECK(std::filesystem::file_size(folder / "model.safetensors") > 4 * 7850);
  }
}

TEST_CASE("simulation: learners with data of their own are named by their folders") {
  const TemporaryFolder folder;
  project_of(folder);
  for (const auto& [name, samples] : {std::pair("north", 90U), std::pair("south", 30U)}) {
    write_set(folder / "sites" / name, samples, samples / 3, samples);
  }
  auto project = project_of(folder, {"run.min_fit = 2", "run.evaluate = true"});
  project.data.clear();
  project.parts = folder / "sites";
  const auto summary = simulated(project);
  CHECK(summary.rounds.front().participants == 2);
  CHECK(summary.rounds.front().central->samples == 40);
  CHECK(summary.rounds.front().devices->samples == 40);
  SUBCASE("one that does not fit the others is named") {
    std::filesystem::copy_file(folder / "sites/north/test-labels.idx1-ubyte",
                               folder / "sites/south/test-labels.idx1-ubyte",
                               std::filesystem::copy_options::overwrite_existing);
    const auto refused = sim::Simulation::create(project, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.contains("south/test-labels"));
  }
}

TEST_CASE("simulation: a run that cannot go on says why") {
  const TemporaryFolder folder;
  SUBCASE("training diverges everywhere") {
    const auto summary =
        simulated(project_of(folder, {"training.learning_rate = 1000", "training.loss = mse", "training.epochs = 5"}));
    CHECK(summary.state == "failed");
    CHECK(summary.reason.contains("diverged"));
  }
  SUBCASE("the model takes other samples") {
    const auto summary = simulated(project_of(folder, {"run.model = logistic-13", "evaluation.central = false"}));
    CHECK(summary.state == "failed");
    CHECK(summary.reason.contains("takes 1x13"));
  }
  SUBCASE("there is no such model") {
    const auto summary = simulated(project_of(folder, {"run.model = resnet"}));
    CHECK(summary.state == "failed");
    CHECK(summary.reason.contains("there is no model 'resnet'"));
  }
}

TEST_CASE("report: a line a round, empty where nothing was measured") {
  sim::Summary summary;
  sim::RoundRecord record;
  record.round = 7;
  record.participants = 3;
  record.train_loss = 0.5;
  summary.rounds = {record};
  record.round = 8;
  record.central = sim::Measurement{0.25, 0.875, 16};
  summary.rounds.push_back(record);
  const std::string csv = sim::to_csv(summary);
  CHECK(csv.contains("\n,7,0.000,0.000,3,0,0,0,0,0.500000,,,,\n"));
  CHECK(csv.contains("\n,8,0.000,0.000,3,0,0,0,0,0.500000,0.8750,0.25000,,\n"));
  CHECK(sim::to_json({}, summary).contains(R"("central":null)"));
}
