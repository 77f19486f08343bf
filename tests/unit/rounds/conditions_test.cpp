#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "flops/rounds/run_spec.hpp"
#include "flops/rounds/site.hpp"
#include "flops/rounds/tree.hpp"
#include "script.hpp"

using namespace flops::rounds;
using namespace flops::rounds::testing;

TEST_CASE("schedule: the rate of each round") {
  Schedule schedule;
  CHECK(learning_rate(schedule, 0.1, 10, 1) == 0.1);
  CHECK(learning_rate(schedule, 0.1, 10, 10) == 0.1);

  schedule.decay = Decay::step;
  schedule.factor = 0.5;
  schedule.every = 3;
  CHECK(learning_rate(schedule, 0.8, 10, 3) == 0.8);
  CHECK(learning_rate(schedule, 0.8, 10, 4) == 0.4);
  CHECK(learning_rate(schedule, 0.8, 10, 7) == 0.2);

  schedule.decay = Decay::exponential;
  CHECK(learning_rate(schedule, 0.8, 10, 1) == 0.8);
  CHECK(learning_rate(schedule, 0.8, 10, 4) == doctest::Approx(0.1));
  schedule.floor = 0.2;
  CHECK(learning_rate(schedule, 0.8, 10, 4) == 0.2);

  schedule = {.decay = Decay::cosine, .floor = 0.1};
  CHECK(learning_rate(schedule, 0.9, 4, 1) == doctest::Approx(0.9));
  CHECK(learning_rate(schedule, 0.9, 4, 3) == doctest::Approx(0.5));
  CHECK(learning_rate(schedule, 0.9, 4, 4) > 0.1);
  CHECK(learning_rate(schedule, 0.9, 4, 9) == doctest::Approx(0.1));  // a buffered run may count on

  schedule.warmup = 3;
  CHECK(learning_rate(schedule, 0.8, 7, 1) == doctest::Approx(0.2));
  CHECK(learning_rate(schedule, 0.8, 7, 3) == doctest::Approx(0.6));
  CHECK(learning_rate(schedule, 0.8, 7, 4) == doctest::Approx(0.8));
  CHECK(learning_rate(schedule, 0.8, 7, 6) == doctest::Approx(0.45));

  // Devices refuse a rate of 0.
  schedule = {.decay = Decay::exponential, .factor = 1e-6};
  CHECK(learning_rate(schedule, 0.1, 1000, 900) == least_learning_rate);
}

TEST_CASE("schedule: a site goes by the rounds of the whole run") {
  RunSpec spec;
  spec.cycles = 4;
  spec.rounds = 5;
  spec.clusters.by = Grouping::By::sites;
  spec.schedule.decay = Decay::cosine;
  spec.goal.patience = 3;
  spec.requirements.cores = 2;
  spec.model = "m";
  spec.data = "d";
  const auto part = parse_run_spec(site_part(spec, 3).spec);
  REQUIRE_MESSAGE(part, (part ? "" : part.error().what));
  CHECK(site_part(spec, 3).first_round == 11);
  for (const std::int64_t round : {11, 13, 20}) {
    CHECK(learning_rate(*part, round) == learning_rate(spec, round));
  }
  CHECK(part->goal.empty());
  CHECK(part->requirements.cores == 2);  // of the devices there
}

TEST_CASE("goal: a target of accuracy or loss") {
  const std::vector<Measured> history = {{1, 0.7, 0.9, 3}, {2, 0.8, 0.5, 3}, {3, 0.75, 0.4, 3}};
  CHECK(reached({.accuracy = 0.85}, "accuracy", history).empty());
  CHECK(reached({.accuracy = 0.8}, "accuracy", history) ==
        "the model of round 2 has accuracy 0.8000, and 0.8000 was wanted");
  CHECK(reached({.loss = 0.3}, "accuracy", history).empty());
  CHECK(reached({.loss = 0.4}, "accuracy", history).contains("round 3 has loss 0.4000"));
  CHECK(reached({.accuracy = 0.8}, "accuracy", {}).empty());
  // Too few measured it, or nothing sensible.
  CHECK(reached({.accuracy = 0.8, .min_evaluate = 4}, "accuracy", history).empty());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(reached({.accuracy = 0.8}, "accuracy", {{1, 0.9, nan, 3}}).empty());
  CHECK(reached({.loss = 0.8}, "accuracy", {{1, 0.9, nan, 3}}).empty());
}

TEST_CASE("goal: patience goes by the run's metric") {
  const std::vector<Measured> history = {{1, 0.70, 0.9, 1}, {2, 0.80, 0.8, 1}, {3, 0.80, 0.7, 1}, {4, 0.801, 0.6, 1}};
  CHECK(reached({.patience = 2}, "accuracy", history).empty());  // round 4 is better by a little
  CHECK(reached({.patience = 2, .min_change = 0.01}, "accuracy", history).contains("after that of round 2 is better"));
  CHECK(reached({.patience = 2, .min_change = 0.01}, "loss", history).empty());
  CHECK(reached({.patience = 3, .min_change = 0.01}, "accuracy", history).empty());
}

TEST_CASE("requirements: the first thing that a machine lacks, in words") {
  constexpr std::uint64_t mib = std::uint64_t{1} << 20U;
  const Machine machine{1024 * mib, 4, 100 * mib, "aarch64", false, {{"site", "north"}}};
  CHECK(unsuitable({}, machine).empty());
  CHECK(unsuitable({1024, 4, 100, {"aarch64", "x86_64"}, false, {{"site", "north"}}}, machine).empty());
  CHECK(unsuitable({.memory_mb = 1025}, machine) == "1024 MiB of memory, 1025 are wanted");
  CHECK(unsuitable({.cores = 5}, machine) == "4 cores, 5 are wanted");
  CHECK(unsuitable({.storage_mb = 101}, machine) == "100 MiB of storage are free, 101 are wanted");
  CHECK(unsuitable({.storage_mb = 1}, Machine()).contains("does not say"));
  CHECK(unsuitable({.architecture = {"riscv64", "x86_64"}}, machine) ==
        "its architecture is aarch64, riscv64 or x86_64 is wanted");
  CHECK(unsuitable({.accelerator = true}, machine) == "it has no accelerator");
  CHECK(unsuitable({.labels = {{"site", "south"}}}, machine) == "its label site is north, south is wanted");
  CHECK(unsuitable({.labels = {{"owner", "x"}}}, machine) == "it has no label owner, x is wanted");
}

TEST_CASE("run spec: schedule, goal and requirements are read, written and refused") {
  const auto spec = parse_run_spec(R"({"model":"m","data":"d","rounds":20,
      "schedule":{"decay":"cosine","warmup":2,"floor":0.001},
      "goal":{"accuracy":0.9,"patience":4,"min_change":0.01,"min_evaluate":2},
      "requirements":{"memory_mb":512,"cores":2,"storage_mb":64,"architecture":["aarch64"],"accelerator":true,
                      "labels":{"site":"north"}}})");
  REQUIRE_MESSAGE(spec, (spec ? "" : spec.error().what));
  CHECK(spec->schedule == Schedule{.decay = Decay::cosine, .warmup = 2, .floor = 0.001});
  CHECK(spec->goal == Goal{.accuracy = 0.9, .patience = 4, .min_change = 0.01, .min_evaluate = 2});
  CHECK(spec->requirements.labels.at("site") == "north");
  CHECK(parse_run_spec(to_json(*spec)).value() == *spec);

  struct Row {
    const char* fields;
    const char* problem;
  };
  for (const Row& row : {
           Row{R"("schedule":{"decay":"linear"})", "schedule.decay: expected one of: constant, step"},
           Row{R"("schedule":{"speed":1})", "schedule.speed: unknown field"},
           Row{R"("schedule":{"factor":0})", "schedule.factor:"},
           Row{R"("schedule":[])", "schedule: expected an object"},
           Row{R"("schedule":{"floor":0.5})", "schedule.floor: must not be larger"},
           Row{R"("rounds":4,"schedule":{"warmup":4})", "schedule.warmup: must be less than the 4 rounds"},
           Row{R"("goal":{"accuracy":1.5})", "goal.accuracy:"},
           Row{R"("goal":{"min_change":0.1})", "goal: names no goal"},
           Row{R"("goal":{"patience":3},"evaluate":false)", "goal: needs models to be measured"},
           Row{R"("goal":7)", "goal: expected an object"},
           Row{R"("requirements":{"memory_mb":-1})", "requirements.memory_mb:"},
           Row{R"("requirements":{"architecture":"arm"})", "requirements.architecture: expected a list"},
           Row{R"("requirements":{"architecture":[]})", "requirements.architecture: expected a list"},
           Row{R"("requirements":{"architecture":[1]})", "requirements.architecture: expected a list"},
           Row{R"("requirements":{"labels":{"a":1}})", "requirements.labels: expected an object"},
           Row{R"("requirements":{"gpu":true})", "requirements.gpu: unknown field"},
       }) {
    CAPTURE(row.fields);
    const auto wrong = parse_run_spec(fmt::format(R"({{"model":"m","data":"d",{}}})", row.fields));
    REQUIRE_FALSE(wrong);
    CHECK_MESSAGE(wrong.error().what.contains(row.problem), wrong.error().what);
  }
}

TEST_CASE("run machine: a goal that the newest model reaches ends the run with it") {
  Run run(10);
  run.to_round_one(2);
  CHECK(run.feed(GoalReached{1, "too early"}).empty());  // of a model that there is not yet
  run.contribute(1);
  run.contribute(2);
  run.feed(Aggregated{model('b')});
  REQUIRE(run.state.round == 2);
  run.contribute(1);
  const auto actions = run.feed(GoalReached{1, "good enough"});
  CHECK(run.state.phase == Phase::finished);
  CHECK(run.state.reason == "good enough");
  CHECK(run.state.round == 1);
  CHECK(run.state.model == model('b'));
  REQUIRE(all<CancelTask>(actions).size() == 1);
  CHECK(all<CancelTask>(actions)[0].device == device(2));
  CHECK(all<RunOver>(actions).size() == 1);
  CHECK(run.feed(GoalReached{1, "again"}).empty());
}

TEST_CASE("run machine: a goal that an older model reached ends the run when the newest is measured") {
  Run run(10);
  run.to_round_one(2);
  for (const char made : {'b', 'c'}) {
    run.contribute(1);
    run.contribute(2);
    CHECK(run.feed(GoalReached{run.state.round - 1, "not while it is closed"}).empty());
    run.feed(Aggregated{model(made)});
  }
  REQUIRE(run.state.round == 3);
  const auto actions = run.feed(GoalReached{1, "good enough"});
  CHECK(all<CancelTask>(actions).size() == 2);
  const auto tasks = all<SendTask>(actions);
  REQUIRE(tasks.size() == 2);
  CHECK(tasks[0].kind == flops::wire::TaskKind::evaluate);
  CHECK(tasks[0].round == 2);
  CHECK(run.state.phase == Phase::evaluating);
  run.feed(Evaluated{device(1), run.tasks[device(1)]});
  run.feed(Evaluated{device(2), run.tasks[device(2)]});
  CHECK(run.state.phase == Phase::finished);
  CHECK(run.state.model == model('c'));
  CHECK(run.state.reason == "the run's goal was reached");
}

TEST_CASE("run machine: tasks that are taken back are given again under other names") {
  Run run(10);
  run.to_round_one(3);
  run.contribute(1);
  const auto before = run.state.participants;
  const auto taken = all<CancelTask>(run.feed(TakenBack{}));
  REQUIRE(taken.size() == 2);
  CHECK(taken[0].task == before.at(device(2)).task);
  CHECK(run.state.participants.at(device(1)) == before.at(device(1)));
  CHECK(run.contribute(2).empty());  // of the old name: it does not count
  CHECK(run.works(2));
  const auto given = all<SendTask>(on_restart(run.state, run.clock.steady()));
  REQUIRE(given.size() == 2);
  CHECK(given[0].task != taken[0].task);
  CHECK(given[0].seed == task_seed(run.state.spec.seed, 1, device(2)));
  CHECK(is_task_of(given[0].task, run.state.id, "r", 1, device(2)));
  CHECK_FALSE(is_task_of(given[0].task, run.state.id, "r", 1, device(3)));
  CHECK_FALSE(is_task_of(given[0].task, run.state.id, "e", 1, device(2)));

  const auto task = task_id(run.state.id, "r", 12, device(1));
  CHECK(next_task_id(task).str() == task.str() + ".2");
  CHECK(next_task_id(next_task_id(task)).str() == task.str() + ".3");
  CHECK(is_task_of(task, run.state.id, "r", 12, device(1)));
  CHECK_FALSE(is_task_of(task, run.state.id, "r", 1, device(1)));
}

TEST_CASE("tree: a pause takes back the tasks of devices, not those of clusters") {
  RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  spec.min_fit = 1;
  spec.clusters = Grouping::parse("hash:2").value();
  Tree tree = make_tree(flops::RunId::parse("run-1").value(), spec);
  const flops::FakeClock clock;
  const ClusterId cluster = ClusterId::parse("c1").value();
  (void)on_available(tree, {{cluster, {device(1)}}}, clock.steady());
  const auto of_cluster = tree.top.participants;
  const auto task = tree.parts.at(cluster).participants.at(device(1)).task;
  const auto actions = on_pause(tree, clock.steady());
  REQUIRE(actions.size() == 1);
  CHECK(std::get<CancelTask>(actions[0].action).task == task);
  CHECK(tree.top.participants == of_cluster);
  const auto again = on_restart(tree, {{cluster, {device(1)}}}, clock.steady());
  REQUIRE(again.size() == 1);
  CHECK(std::get<SendTask>(again[0].action).task == next_task_id(task));
}

TEST_CASE("tree: a goal ends the clusters' rounds too") {
  RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  spec.cycles = 3;
  spec.rounds = 2;
  spec.min_fit = 1;
  spec.clusters = Grouping::parse("hash:2").value();
  Tree tree = make_tree(flops::RunId::parse("run-1").value(), spec);
  flops::FakeClock clock;
  const auto cluster = [](const char* name) { return ClusterId::parse(name).value(); };
  auto actions = on_available(tree, {{cluster("c1"), {device(1)}}}, clock.steady());
  REQUIRE(tree.parts.size() == 1);
  const auto task_of = [&] { return tree.parts.at(cluster("c1")).participants.at(device(1)).task; };
  (void)on_event(tree, cluster("c1"), Initialised{device(1), task_of(), model('a')}, clock.steady());
  for (int round = 0; round < 2; ++round) {
    (void)on_event(tree, cluster("c1"), Contributed{device(1), task_of()}, clock.steady());
    (void)on_event(tree, cluster("c1"), Aggregated{model('b')}, clock.steady());
  }
  (void)on_event(tree, cluster("c1"), HandedUp{}, clock.steady());
  (void)on_event(tree, {}, Aggregated{model('c')}, clock.steady());
  REQUIRE(tree.top.round == 2);
  REQUIRE(tree.parts.size() == 1);
  actions = on_event(tree, {}, GoalReached{1, "good enough"}, clock.steady());
  CHECK(tree.top.phase == Phase::finished);
  CHECK(tree.top.model == model('c'));
  CHECK(tree.parts.empty());
  CHECK(std::ranges::count_if(
            actions, [](const NodeAction& one) { return std::holds_alternative<CancelTask>(one.action); }) == 1);
}
