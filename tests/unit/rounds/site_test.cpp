// Runs whose participants are sites.
#include <doctest/doctest.h>

#include "flops/rounds/site.hpp"
#include "flops/rounds/tree.hpp"
#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;

namespace {

RunSpec spec_of(const std::string& more) {
  const auto spec = parse_run_spec(R"({"model":"m","data":"d","clusters":"sites")" + more + "}");
  REQUIRE_MESSAGE(spec, (spec ? "" : spec.error().what));
  return *spec;
}

std::vector<SendTask> tasks_in(const std::vector<NodeAction>& actions) {
  std::vector<SendTask> tasks;
  for (const NodeAction& one : actions) {
    CHECK(one.node.empty());
    if (const auto* task = std::get_if<SendTask>(&one.action)) {
      tasks.push_back(*task);
    }
  }
  return tasks;
}

}  // namespace

TEST_CASE("sites: the grouping is read and written, and a site is the cluster of its name") {
  const auto sites = Grouping::parse("sites").value();
  CHECK(sites.by == Grouping::By::sites);
  CHECK(sites.text() == "sites");
  CHECK_FALSE(sites.inside());
  CHECK(Grouping::parse("hash:2")->inside());
  CHECK_FALSE(Grouping().inside());
  CHECK(cluster_of(sites, device(3), {{"site", "north"}}).str() == "d3");
  const RunSpec spec = spec_of(R"(,"cycles":4,"rounds":2,"global":{"min_fit":2,"max_staleness":1})");
  CHECK(spec.clusters == sites);
  CHECK(*parse_run_spec(to_json(spec)) == spec);
}

TEST_CASE("sites: what makes no sense is refused, with the reason") {
  struct Row {
    const char* json;
    const char* problem;
  };
  for (const Row& row :
       {Row{R"("mode":"async")", "clusters: only for mode sync"}, Row{R"("algorithm":"scaffold")", "flat runs"},
        Row{R"("rounds":1,"global":{"algorithm":"fednova"})", "which sites do not tell"},
        Row{R"("rounds":1,"algorithm":"fedadam")", "global.algorithm"},
        Row{R"("rounds":3,"algorithm":"fednova","training":{"momentum":0.9})", "plain sgd"},
        Row{R"("global":{"algorithm":"fedprox"})", "for devices"}}) {
    CAPTURE(row.json);
    const auto refused = parse_run_spec(std::string(R"({"model":"m","data":"d","clusters":"sites",)") + row.json + "}");
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().what.find(row.problem) != std::string::npos, refused.error().what);
  }
}

TEST_CASE("sites: what they hand up is weighed by the level of cycles") {
  const RunSpec several = spec_of(R"(,"rounds":3,"algorithm":"fednova","max_staleness":2)");
  CHECK(weighing_algorithm(several).name == "fedavg");
  CHECK_FALSE(takes_late_updates(several));
  CHECK(takes_late_updates(spec_of(R"(,"global":{"max_staleness":1})")));
}

TEST_CASE("sites: a part is a run specification that a coordinator takes, with the rounds counted through all cycles") {
  const RunSpec spec = spec_of(R"(,"cycles":4,"rounds":3,"seed":77,"min_fit":3,"max_staleness":2,"deadline_seconds":50,
    "candidates":5,"training":{"learning_rate":0.1},"algorithm":{"name":"fedprox","proximal":0.5},
    "global":{"min_fit":2,"deadline_seconds":99,"algorithm":"fedadam"})");
  for (const auto& [cycle, first_round] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {1, 1}, {3, 7}}) {
    CHECK(site_part(spec, cycle).first_round == first_round);
  }
  const auto part = parse_run_spec(site_part(spec, 3).spec);
  REQUIRE_MESSAGE(part, (part ? "" : part.error().what));
  RunSpec expected = spec;
  expected.cycles = 1;
  expected.clusters = {};
  expected.global = {};
  CHECK(*part == expected);
  CHECK(site_part(spec, 3).spec.find("global") == std::string::npos);
  CHECK(site_part(spec, 3).spec.size() < wire::max_part_spec);
  // A single round takes no late updates, and its weights have no factor for them.
  CHECK_FALSE(takes_late_updates(*parse_run_spec(site_part(spec_of(R"(,"rounds":1,"max_staleness":2)"), 1).spec)));
}

TEST_CASE("sites: an exact sum is offered for training of a single round alone") {
  const RunSpec one = spec_of(R"(,"rounds":1)");
  CHECK(offers_sum(one, wire::TaskKind::train));
  CHECK_FALSE(offers_sum(one, wire::TaskKind::init));
  CHECK_FALSE(offers_sum(one, wire::TaskKind::evaluate));
  CHECK_FALSE(offers_sum(spec_of(R"(,"rounds":2)"), wire::TaskKind::train));
  RunSpec inside = one;
  inside.clusters = Grouping::parse("hash:2").value();
  CHECK_FALSE(offers_sum(inside, wire::TaskKind::train));
  inside.clusters = {};
  CHECK_FALSE(offers_sum(inside, wire::TaskKind::train));
}

TEST_CASE("sites: the tree is one machine with the rules of the level, whose rounds are cycles") {
  const RunSpec spec = spec_of(R"(,"cycles":2,"rounds":3,"min_fit":5,"over_select":1,"max_staleness":4,
    "global":{"min_fit":2,"min_available":3,"max_staleness":1,"deadline_seconds":99})");
  Tree tree = make_tree(RunId::parse("run-1").value(), spec);
  FakeClock clock;
  CHECK(tree.flat());
  CHECK(tree.of_sites());
  CHECK(last_round(tree.top) == 2);
  CHECK(tree.top.spec.max_staleness == 1);
  CHECK(tree.top.spec.deadline_seconds == 99);
  CHECK(tree.top.spec.over_select == 0);
  (void)on_available(tree, {{ClusterId(), devices(2)}}, clock.steady());
  CHECK(tree.top.reason == "2 of 3 sites with the data 'd' are online");
  auto tasks = tasks_in(on_available(tree, {{ClusterId(), devices(3)}}, clock.steady()));
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].kind == wire::TaskKind::init);
  tasks = tasks_in(on_event(tree, {}, Initialised{device(1), tasks[0].task, model('a')}, clock.steady()));
  CHECK(tasks.size() == 3);
  for (const std::int64_t cycle : {1, 2}) {
    CHECK(tree.top.round == cycle);
    CHECK(cycle_of(spec, tree.top.round) == cycle);
    for (const SendTask& task : tasks) {
      CHECK(task.kind == wire::TaskKind::train);
      CHECK(task.evaluate_first == (cycle > 1));
      (void)on_event(tree, {}, Contributed{task.device, task.task}, clock.steady());
    }
    CHECK(tree.top.phase == Phase::aggregating);
    tasks = tasks_in(on_event(tree, {}, Aggregated{model('b')}, clock.steady()));
    CHECK(tasks.size() == 3);
  }
  CHECK(tree.parts.empty());
  CHECK(tree.top.phase == Phase::evaluating);
  // As it is recorded and read again.
  RunState recorded = tree.top;
  recorded.spec = spec;
  const Tree again = make_tree(recorded, {});
  CHECK(again.top.spec == tree.top.spec);
  CHECK(again.of_sites());
}
