// Cycles over clusters.
#include <algorithm>
#include <random>
#include <set>

#include <doctest/doctest.h>

#include "flops/rounds/tree.hpp"
#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;
using namespace std::chrono_literals;

namespace {

ClusterId cluster(const std::string& name) {
  return ClusterId::parse(name).value();
}

// A tree under test: devices 1 to 3 in "north", 4 to 6 in "south".
struct Woods {
  Tree tree;
  FakeClock clock;
  std::map<DeviceId, SendTask> tasks;
  std::map<DeviceId, ClusterId> of;
  std::vector<NodeAction> last;

  explicit Woods(std::int64_t cycles = 2, std::int64_t rounds = 1) {
    RunSpec spec;
    spec.model = "m";
    spec.data = "d";
    spec.cycles = cycles;
    spec.rounds = rounds;
    spec.clusters = Grouping::parse("label:site").value();
    spec.global.min_fit = spec.global.min_available = 2;
    tree = make_tree(RunId::parse("run-1").value(), spec);
  }
  std::vector<NodeAction> take(std::vector<NodeAction> actions) {
    for (const NodeAction& one : actions) {
      if (const auto* task = std::get_if<SendTask>(&one.action)) {
        tasks.insert_or_assign(task->device, *task);
        of[task->device] = one.node;
      }
    }
    last = actions;
    return actions;
  }
  std::vector<NodeAction> feed(const ClusterId& node, const Event& event) {
    return take(on_event(tree, node, event, clock.steady()));
  }
  std::vector<NodeAction> there(int north, int south) {
    std::map<ClusterId, std::set<DeviceId>> devices;
    for (int n = 1; n <= north; ++n) {
      devices[cluster("north")].insert(device(n));
    }
    for (int n = 4; n < 4 + south; ++n) {
      devices[cluster("south")].insert(device(n));
    }
    return take(on_available(tree, devices, clock.steady()));
  }
  std::vector<NodeAction> contribute(int n) {
    return feed(of[device(n)], Contributed{device(n), tasks.at(device(n)).task});
  }
  void to_cycle_one(int north = 3, int south = 3) {
    there(north, south);
    const auto& [maker, task] = *tasks.begin();
    feed(of[maker], Initialised{maker, task.task, model('a')});
    REQUIRE(tree.top.phase == Phase::fitting);
  }
  template <class Kind>
  [[nodiscard]] std::vector<std::pair<ClusterId, Kind>> said() const {
    std::vector<std::pair<ClusterId, Kind>> found;
    for (const NodeAction& one : last) {
      if (const auto* kind = std::get_if<Kind>(&one.action)) {
        found.emplace_back(one.node, *kind);
      }
    }
    return found;
  }
};

}  // namespace

TEST_CASE("tree: without clusters it is the run machine, over all cycles' rounds") {
  RunSpec spec;
  spec.cycles = 3;
  spec.rounds = 4;
  Tree tree = make_tree(RunId::parse("run-1").value(), spec);
  CHECK(tree.flat());
  CHECK(last_round(tree.top) == 12);
  FakeClock clock;
  const auto actions = on_available(tree, {{ClusterId(), devices(2)}}, clock.steady());
  REQUIRE(actions.size() == 1);
  CHECK(actions[0].node.empty());
  CHECK(std::get<SendTask>(actions[0].action).device == device(1));
  CHECK(tree.parts.empty());
}

TEST_CASE("tree: with one round a cycle, a cycle is a flat round whose sums meet at the top") {
  Woods woods;
  woods.to_cycle_one();
  // The top's sum is prepared, then each cluster's; all devices have the task, and the seed, of a flat run's round 1.
  const auto opened = woods.said<OpenRound>();
  REQUIRE(opened.size() == 3);
  CHECK(opened[0].first.empty());
  REQUIRE(woods.said<SendTask>().size() == 6);
  for (const auto& [node, task] : woods.said<SendTask>()) {
    CHECK(task.round == 1);
    CHECK(task.seed == task_seed(1, 1, task.device));
    CHECK_FALSE(task.evaluate_first);
  }
  woods.contribute(1);
  woods.contribute(2);
  CHECK(woods.last.empty());
  woods.contribute(3);
  REQUIRE(woods.said<HandUp>().size() == 1);
  CHECK(woods.said<HandUp>()[0].first == cluster("north"));
  CHECK(woods.said<CloseRound>().empty());  // no mean of a cluster's
  woods.feed(cluster("north"), HandedUp{});
  CHECK(woods.tree.parts.size() == 1);
  for (const int n : {4, 5, 6}) {
    woods.contribute(n);
  }
  woods.feed(cluster("south"), HandedUp{});
  REQUIRE(woods.said<CloseRound>().size() == 1);
  CHECK(woods.said<CloseRound>()[0].first.empty());

  woods.feed({}, Aggregated{model('b')});
  CHECK(woods.said<SendTask>().size() == 6);
  CHECK(woods.said<SendTask>()[0].second.round == 2);
  CHECK(woods.said<SendTask>()[0].second.evaluate_first);
  CHECK(woods.tree.parts.at(cluster("south")).model == model('b'));
}

TEST_CASE("tree: several rounds a cycle make models of the cluster's own, and the last one goes up") {
  Woods woods(1, 2);
  woods.to_cycle_one();
  for (const int n : {1, 2, 3}) {
    woods.contribute(n);
  }
  REQUIRE(woods.said<CloseRound>().size() == 1);
  woods.feed(cluster("north"), Aggregated{model('c')});
  CHECK(woods.tree.parts.at(cluster("north")).round == 2);
  CHECK(woods.tree.parts.at(cluster("north")).participants.at(device(1)).base == model('c'));
  CHECK(woods.tree.top.model == model('a'));
  for (const int n : {1, 2, 3}) {
    woods.contribute(n);
  }
  CHECK(woods.said<HandUp>().empty());  // its model is made first
  woods.feed(cluster("north"), Aggregated{model('d')});
  REQUIRE(woods.said<HandUp>().size() == 1);
  CHECK(woods.tree.parts.at(cluster("north")).model == model('d'));
}

TEST_CASE("tree: after the last cycle the global model is measured by devices of all clusters") {
  Woods woods(1, 3);
  woods.to_cycle_one();
  for (int round = 1; round <= 3; ++round) {
    for (int n = 1; n <= 6; ++n) {
      woods.contribute(n);
    }
    woods.feed(cluster("north"), Aggregated{model('c')});
    woods.feed(cluster("south"), Aggregated{model('e')});
  }
  woods.feed(cluster("north"), HandedUp{});
  woods.feed(cluster("south"), HandedUp{});
  woods.feed({}, Aggregated{model('f')});
  CHECK(woods.tree.top.phase == Phase::evaluating);
  REQUIRE(woods.said<SendTask>().size() == 6);
  for (const auto& [node, task] : woods.said<SendTask>()) {
    CHECK(task.kind == wire::TaskKind::evaluate);
    CHECK(task.round == 3);
    CHECK(woods.tree.parts.at(node).participants.at(task.device).base == model('f'));
  }
  for (int n = 1; n <= 6; ++n) {
    woods.feed(woods.of[device(n)], Evaluated{device(n), woods.tasks.at(device(n)).task});
  }
  CHECK(woods.tree.top.phase == Phase::finished);
  CHECK(woods.said<RunOver>().size() == 1);
  CHECK(woods.tree.parts.empty());
}

TEST_CASE("tree: a cluster with too few devices is skipped, with the reason, and asked when it has enough") {
  Woods woods(2, 1);
  woods.tree.spec.min_fit = 2;
  woods.tree.top.spec.min_fit = woods.tree.top.spec.min_available = 1;
  woods.to_cycle_one(3, 1);
  CHECK(woods.tree.skipped.at(cluster("south")) == "1 of 2 devices with the data 'd' are online");
  CHECK_FALSE(woods.tree.parts.contains(cluster("south")));
  woods.there(3, 2);
  CHECK(woods.tree.skipped.empty());
  for (const int n : {1, 2, 3}) {
    woods.contribute(n);
  }
  woods.feed(cluster("north"), HandedUp{});
  woods.feed({}, Aggregated{model('b')});
  CHECK(woods.tree.parts.contains(cluster("south")));
  CHECK(woods.said<SendTask>().size() == 5);
}

TEST_CASE("tree: a cluster that is not done at the top's deadline is cancelled, or counts later") {
  for (const std::int64_t staleness : {0, 2}) {
    CAPTURE(staleness);
    Woods woods;
    woods.tree.top.spec.min_fit = 1;
    woods.tree.top.spec.max_staleness = staleness;
    woods.to_cycle_one();
    for (const int n : {1, 2, 3, 4}) {
      woods.contribute(n);
    }
    woods.feed(cluster("north"), HandedUp{});
    woods.clock.advance(3601s);
    woods.take(on_tick(woods.tree, woods.clock.steady()));
    REQUIRE(woods.said<CloseRound>().size() == 1);
    woods.feed({}, Aggregated{model('b')});
    if (staleness == 0) {
      const auto cancelled = woods.said<CancelTask>();
      REQUIRE(cancelled.size() == 2);
      CHECK(cancelled[0].second.device == device(5));
      CHECK(woods.said<SendTask>().size() == 6);  // of cycle 2, south's devices too
    } else {
      CHECK(woods.said<CancelTask>().empty());
      CHECK(woods.said<SendTask>().size() == 3);
      woods.contribute(5);
      woods.contribute(6);
      REQUIRE(woods.said<HandUp>().size() == 1);
      CHECK(woods.tree.parts.at(cluster("south")).model == model('a'));  // the older base
      woods.feed(cluster("south"), HandedUp{});
      CHECK(woods.tree.top.participants.at(DeviceId::parse("south").value()).answer == Answer::contributed);
    }
  }
}

TEST_CASE("tree: a cluster in which nobody can train has failed, and the others go on") {
  Woods woods(1, 1);
  woods.tree.top.spec.min_fit = 1;
  woods.to_cycle_one();
  for (const int n : {4, 5, 6}) {
    woods.feed(cluster("south"), TaskFailed{device(n), woods.tasks.at(device(n)).task, "broken"});
  }
  woods.clock.advance(601s);
  woods.take(on_tick(woods.tree, woods.clock.steady()));
  CHECK(woods.tree.top.participants.at(DeviceId::parse("south").value()).answer == Answer::failed);
  for (const int n : {1, 2, 3}) {
    woods.contribute(n);
  }
  woods.feed(cluster("north"), HandedUp{});
  CHECK(woods.said<CloseRound>().size() == 1);
}

TEST_CASE("tree: a stop reaches every device at work, and late words of a cluster change nothing") {
  Woods woods;
  woods.to_cycle_one();
  woods.contribute(1);
  woods.feed({}, StopRequested{});
  CHECK(woods.said<CancelTask>().size() == 5);
  CHECK(woods.said<RunOver>().size() == 1);
  CHECK(woods.tree.parts.empty());
  CHECK(woods.contribute(2).empty());
  CHECK(woods.feed(cluster("north"), HandedUp{}).empty());
  CHECK(woods.feed(cluster("west"), Aggregated{model('9')}).empty());
}

TEST_CASE("tree: after a restart each cluster goes on where it was, and what was to be handed up is again") {
  for (const std::int64_t rounds : {1, 2}) {
    CAPTURE(rounds);
    Woods woods(1, rounds);
    woods.to_cycle_one();
    for (std::int64_t round = 1; round <= rounds; ++round) {
      for (const int n : {1, 2, 3}) {
        woods.contribute(n);
      }
      woods.feed(cluster("north"), Aggregated{model('c')});
    }
    woods.contribute(4);
    // As the shell records it: the top with the run's spec, the parts without theirs.
    RunState top = woods.tree.top;
    top.spec = woods.tree.spec;
    std::map<ClusterId, RunState> parts = woods.tree.parts;
    for (auto& [name, part] : parts) {
      part.spec = {};
    }
    Tree again = make_tree(top, parts);
    CHECK(again.top.spec == woods.tree.top.spec);
    CHECK(again.parts.at(cluster("south")).spec == woods.tree.parts.at(cluster("south")).spec);
    woods.tree = again;
    woods.take(on_restart(woods.tree, {{cluster("south"), {device(5)}}}, woods.clock.steady()));
    CHECK(woods.tree.skipped.contains(cluster("south")));
    std::multiset<ClusterId> opened;
    for (const auto& [node, open] : woods.said<OpenRound>()) {
      opened.insert(node);
    }
    // The sum of the only round is made again; a model is there.
    CHECK(opened == (rounds == 1 ? std::multiset<ClusterId>{{}, cluster("north"), cluster("south")}
                                 : std::multiset<ClusterId>{{}, cluster("south")}));
    REQUIRE(woods.said<HandUp>().size() == 1);
    CHECK(woods.said<HandUp>()[0].first == cluster("north"));
    REQUIRE(woods.said<SendTask>().size() == 2);
    CHECK(woods.said<SendTask>()[0].second.device == device(5));
  }
}

TEST_CASE("tree: after a restart the sum of a cycle that was complete is closed again") {
  Woods woods;
  woods.to_cycle_one();
  for (const int n : {1, 2, 3, 4, 5, 6}) {
    woods.contribute(n);
  }
  woods.feed(cluster("north"), HandedUp{});
  woods.feed(cluster("south"), HandedUp{});
  REQUIRE(woods.tree.top.phase == Phase::aggregating);
  woods.take(on_restart(woods.tree, {}, woods.clock.steady()));
  REQUIRE(woods.last.size() == 2);
  CHECK(woods.said<OpenRound>().size() == 1);
  CHECK(woods.said<CloseRound>().size() == 1);
}

TEST_CASE("tree: the cycle of a round") {
  RunSpec spec;
  spec.rounds = 3;
  for (const auto& [round, cycle] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {1, 1}, {3, 1}, {4, 2}}) {
    CHECK(cycle_of(spec, round) == cycle);
  }
}

TEST_CASE("grouping: by label, by hash, by list") {
  const auto label = Grouping::parse("label:site").value();
  CHECK(cluster_of(label, device(1), {{"site", "north"}}) == cluster("north"));
  CHECK(cluster_of(label, device(1), {{"site", "No/Id"}}).empty());
  CHECK(cluster_of(label, device(1), {}).empty());
  const auto hash = Grouping::parse("hash:3").value();
  std::map<ClusterId, int> sizes;
  for (int n = 0; n < 600; ++n) {
    ++sizes[cluster_of(hash, device(n), {})];
  }
  REQUIRE(sizes.size() == 3);
  for (const auto& [name, size] : sizes) {
    CHECK(size > 150);
  }
  CHECK(cluster_of(hash, device(7), {}) == cluster_of(hash, device(7), {{"site", "north"}}));
  Grouping list;
  list.by = Grouping::By::list;
  list.members = {{cluster("a"), {device(1)}}, {cluster("b"), {device(2)}}};
  CHECK(cluster_of(list, device(2), {}) == cluster("b"));
  CHECK(cluster_of(list, device(3), {}).empty());
  for (const char* text : {"", "label:", "hash:", "hash:0", "hash:1001", "hash:2x", "site", "sites:2", "hash:-1"}) {
    CAPTURE(text);
    CHECK_FALSE(Grouping::parse(text));
  }
  CHECK(Grouping::parse("hash:12")->text() == "hash:12");
}

TEST_CASE("run spec: clusters, cycles and the upper level are read, written and checked") {
  const char* full = R"({"model":"m","data":"d","cycles":3,"rounds":2,"clusters":{"a":["d1","d2"],"b":["d3"]},
    "global":{"min_fit":2,"fraction":0.5,"max_staleness":1,"deadline_seconds":99}})";
  const auto spec = parse_run_spec(full);
  REQUIRE_MESSAGE(spec, (spec ? "" : spec.error().what));
  CHECK(spec->clusters.members.at(cluster("a")) == std::set{device(1), device(2)});
  CHECK(spec->global.min_available == 2);
  CHECK(*parse_run_spec(to_json(*spec)) == *spec);
  CHECK(*parse_run_spec(to_json(*parse_run_spec(R"({"model":"m","data":"d","clusters":"hash:4"})"))) ==
        *parse_run_spec(R"({"model":"m","data":"d","clusters":"hash:4"})"));
  const auto wrong = parse_run_spec(R"({"model":"m","data":"d","mode":"async","cycles":100000,"rounds":100000,
    "clusters":{"a":["d1"],"b":["d1",7],"C":["d2"],"e":[]},
    "global":{"min_fit":3,"min_available":2,"fraction":2,"speed":1}})");
  REQUIRE_FALSE(wrong);
  for (const char* problem : {"'d1' stands in two places", "not a valid device id", "not a valid cluster id",
                              "'e': expected a list", "global.min_available", "global.fraction", "global.speed",
                              "more than 100000 rounds", "clusters: only for mode sync"}) {
    CHECK_MESSAGE(wrong.error().what.find(problem) != std::string::npos, problem);
  }
  const auto flat = parse_run_spec(R"({"model":"m","data":"d","global":{"min_fit":3}})");
  REQUIRE_FALSE(flat);
  CHECK(flat.error().what == "global: only for a run with clusters");
}

TEST_CASE("run spec: algorithms at both levels are read, written, and checked against each other") {
  const auto spec = parse_run_spec(R"({"model":"m","data":"d","rounds":2,"candidates":7,"clusters":"hash:2",
    "algorithm":{"name":"fedprox","proximal":0.5},"global":{"algorithm":"fedyogi"}})");
  REQUIRE_MESSAGE(spec, (spec ? "" : spec.error().what));
  CHECK(spec->algorithm.proximal == 0.5);
  CHECK(spec->global.algorithm == algorithms::defaults("fedyogi"));
  CHECK(*parse_run_spec(to_json(*spec)) == *spec);
  struct Row {
    const char* json;
    const char* problem;
  };
  for (const Row& row :
       {Row{R"("algorithm":"sgd")", "algorithm: "}, Row{R"("algorithm":7)", "algorithm: expected a name or an object"},
        Row{R"("algorithm":{"name":"fedavg","speed":1})", "algorithm.speed"},
        Row{R"("algorithm":{"server_learning_rate":1})", "algorithm.name"},
        Row{R"("algorithm":{"name":"fedavg","proximal":1})", "proximal"},
        Row{R"("algorithm":"fednova","training":{"momentum":0.9})", "plain sgd"},
        Row{R"("algorithm":"scaffold","max_staleness":2)", "without late updates"},
        Row{R"("algorithm":"scaffold","clusters":"hash:2","rounds":2)", "flat runs"},
        Row{R"("algorithm":"fedadam","clusters":"hash:2","rounds":1)", "global.algorithm"},
        Row{R"("global":{"algorithm":"scaffold"},"clusters":"hash:2")", "for devices"},
        Row{R"("global":{"algorithm":"fednova"},"clusters":"hash:2","rounds":3)", "one round a cycle"},
        Row{R"("mode":"async","candidates":3)", "candidates: only for mode sync"}}) {
    CAPTURE(row.json);
    const auto refused = parse_run_spec(std::string(R"({"model":"m","data":"d",)") + row.json + "}");
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().what.find(row.problem) != std::string::npos, refused.error().what);
  }
}

TEST_CASE("run spec: the algorithm whose step follows the devices' sum weighs them") {
  RunSpec spec;
  spec.algorithm.name = "fedprox";
  spec.global.algorithm.name = "fednova";
  CHECK(weighing_algorithm(spec).name == "fedprox");
  spec.clusters = Grouping::parse("hash:2").value();
  CHECK(weighing_algorithm(spec).name == "fedprox");
  spec.rounds = 1;
  CHECK(weighing_algorithm(spec).name == "fednova");
  CHECK_FALSE(takes_late_updates(spec));
  spec.global.max_staleness = 1;
  CHECK(takes_late_updates(spec));
}

TEST_CASE("tree: with candidates, those who reported the highest loss are asked") {
  RunSpec spec;
  spec.rounds = 2;
  spec.min_fit = spec.min_available = 2;
  spec.fraction = 0.5;
  spec.candidates = 4;
  Tree tree = make_tree(RunId::parse("run-1").value(), spec);
  FakeClock clock;
  for (int n = 1; n <= 4; ++n) {
    note_loss(tree, device(n), n == 2 || n == 4 ? 5.0 : 0.1);
  }
  const auto begun = on_available(tree, {{ClusterId(), devices(4)}}, clock.steady());
  REQUIRE(begun.size() == 1);
  const auto& task = std::get<SendTask>(begun[0].action);
  (void)on_event(tree, {}, Initialised{task.device, task.task, model('a')}, clock.steady());
  std::set<DeviceId> asked;
  for (const auto& [id, participant] : tree.top.participants) {
    asked.insert(id);
  }
  CHECK(asked == std::set{device(2), device(4)});
}
