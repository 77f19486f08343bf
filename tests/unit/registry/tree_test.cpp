// Runs with clusters.
#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::registry;

namespace {

const DeviceId one = DeviceId::parse("d-1").value();
const DeviceId two = DeviceId::parse("d-2").value();
const rounds::ClusterId north = rounds::ClusterId::parse("north").value();
const rounds::ClusterId south = rounds::ClusterId::parse("south").value();

TaskId task(const char* id) {
  return TaskId::parse(id).value();
}
DeviceId participant(const rounds::ClusterId& cluster) {
  return DeviceId::parse(cluster.str()).value();
}

// A run in its second cycle, with two clusters at work.
struct Fixture {
  test::TemporaryFolder folder;
  FakeClock clock;
  rounds::Tree tree;

  Registry open() { return Registry::open(folder / "c.db", clock).value(); }

  Fixture() {
    Registry registry = open();
    rounds::RunSpec spec;
    spec.model = "m";
    spec.data = "d";
    spec.rounds = 3;
    spec.cycles = 4;
    spec.clusters = rounds::Grouping::parse("label:site").value();
    tree = rounds::make_tree(registry.add_run(spec).value(), spec);
    tree.top.phase = rounds::Phase::fitting;
    tree.top.round = 2;
    tree.top.model = crypto::sha256("global");
    for (const auto& cluster : {north, south}) {
      tree.top.participants[participant(cluster)] = {task(cluster.str().c_str()), wire::TaskKind::train,
                                                     rounds::Answer::none, 2, tree.top.model};
      rounds::RunState& part = tree.parts[cluster];
      part.id = tree.top.id;
      part.part = rounds::Part::rounds;
      part.first_round = 4;
      part.phase = rounds::Phase::fitting;
      part.round = cluster == north ? 4 : 5;
      part.model = crypto::sha256(cluster.str());
      part.wanted = 2;
      part.reason = "why";
      part.participants[cluster == north ? one : two] = {task("t"), wire::TaskKind::train, rounds::Answer::none,
                                                         part.round, part.model};
    }
    REQUIRE(registry.save_tree(tree, {{}, north, south}));
  }
  rounds::Tree read() {
    RunRow row = *open().run(tree.top.id).value();
    CHECK(row.state.spec == tree.spec);
    return rounds::make_tree(std::move(row.state), std::move(row.parts));
  }
};

void check_same(const rounds::RunState& a, const rounds::RunState& b) {
  CHECK(a.part == b.part);
  CHECK(a.first_round == b.first_round);
  CHECK(a.phase == b.phase);
  CHECK(a.round == b.round);
  CHECK(a.model == b.model);
  CHECK(a.wanted == b.wanted);
  CHECK(a.reason == b.reason);
  CHECK(a.participants == b.participants);
}

}  // namespace

TEST_CASE("registry: a tree survives closing the file, and only the nodes that are named change") {
  Fixture fixture;
  rounds::Tree read = fixture.read();
  check_same(read.top, fixture.tree.top);
  REQUIRE(read.parts.size() == 2);
  check_same(read.parts.at(north), fixture.tree.parts.at(north));
  check_same(read.parts.at(south), fixture.tree.parts.at(south));

  rounds::Tree next = fixture.tree;
  next.top.reason = "later";
  next.parts.erase(south);
  next.parts.at(north).participants.at(one).answer = rounds::Answer::failed;
  {
    Registry registry = fixture.open();
    REQUIRE(registry.save_tree(next, {south}));
    REQUIRE(registry.save_participant(next.parts.at(north), one, north));
  }
  read = fixture.read();
  CHECK(read.top.reason.empty());
  REQUIRE(read.parts.size() == 1);
  check_same(read.parts.at(north), next.parts.at(north));
}

TEST_CASE("registry: what a cluster hands up answers for it and ends its work, in one step") {
  Fixture fixture;
  const RunId run = fixture.tree.top.id;
  HandedUpRow row{north, task("north"), 2, 6, crypto::sha256("north"), fixture.tree.top.model, 300, 7};
  {
    Registry registry = fixture.open();
    REQUIRE(registry.open_round(run, 6, north));
    REQUIRE(registry.add_handed_up(run, 2, row));
    row.samples = 1;
    REQUIRE(registry.add_handed_up(run, 2, row));
  }
  const rounds::Tree read = fixture.read();
  CHECK(read.top.participants.at(participant(north)).answer == rounds::Answer::contributed);
  CHECK(read.top.participants.at(participant(south)).answer == rounds::Answer::none);
  CHECK(read.parts.size() == 1);
  Registry registry = fixture.open();
  const auto rows = registry.handed_up(run, 2).value();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].cluster == north);
  CHECK(rows[0].samples == 300);
  CHECK(rows[0].steps == 7);
  CHECK(rows[0].round == 6);
  CHECK(rows[0].model == crypto::sha256("north"));
  CHECK(rows[0].base == fixture.tree.top.model);
  CHECK(registry.handed_up(run, 1).value().empty());
  CHECK(registry.rounds_of(run).value().at(0).state == "done");
}

TEST_CASE("registry: what sites send is recorded with its codec, and what they measured with its spread") {
  const test::TemporaryFolder folder;
  FakeClock clock;
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  spec.clusters = rounds::Grouping::parse("sites").value();
  Registry registry = Registry::open(folder / "c.db", clock).value();
  const RunId run = registry.add_run(spec).value();
  CHECK(registry.run(run).value()->state.spec == spec);
  REQUIRE(registry.open_round(run, 1));
  REQUIRE(registry.open_round(run, 2));
  const Digest base = crypto::sha256("base");
  ContributionRow row{one, task("t1"), crypto::sha256("u"), 1000, 2'000'000'000, 0.5, 2.0, 1, base,
                      1,   9,          wire::sum_codec};
  REQUIRE(registry.add_contribution(run, 1, row).value());
  row.task = task("t2");
  row.codec = wire::lossless_codec;
  REQUIRE(registry.add_contribution(run, 2, row).value());
  REQUIRE(registry.add_contribution(run, 2, {two, task("t3"), crypto::sha256("v"), 10, 30, 0.5, 2.0}).value());
  const auto stored = registry.contributions(run, 1).value();
  REQUIRE(stored.size() == 1);
  CHECK(stored[0].codec == wire::sum_codec);
  CHECK(stored[0].weight == 2'000'000'000);
  CHECK(registry.contributions(run, 2).value().at(0).codec == wire::lossless_codec);
  CHECK(registry.bytes_up(run).value() == std::map<DeviceId, std::uint64_t>{{one, 2000}, {two, 10}});

  wire::Metrics metrics;
  metrics.samples = 300;
  metrics.accuracy = 0.5;
  REQUIRE(registry.save_metrics(run, 1, two, metrics, {}, south));
  metrics.spread = wire::Spread{0.25, 0.75, 7};
  REQUIRE(registry.save_metrics(run, 1, one, metrics, {}, north));
  REQUIRE(registry.save_metrics(run, 1, one, metrics, {}, north));
  const auto figures = registry.cluster_figures(run).value();
  REQUIRE(figures.size() == 2);
  CHECK(figures[0].accuracy_min == 0.25);
  CHECK(figures[0].accuracy_max == 0.75);
  CHECK(figures[0].devices == 7);
  CHECK(figures[1].accuracy_min == 0.5);
  CHECK(figures[1].devices == 1);
  const auto rounds = registry.rounds_of(run).value();
  CHECK(rounds.at(0).accuracy_min == 0.25);
  CHECK(rounds.at(0).accuracy_max == 0.75);
}

TEST_CASE("registry: rounds of clusters and cycles are told apart, and so are their contributions and figures") {
  Fixture fixture;
  Registry registry = fixture.open();
  const RunId run = fixture.tree.top.id;
  REQUIRE(registry.open_round(run, 1));
  for (const auto& cluster : {north, south}) {
    const DeviceId& device = cluster == north ? one : two;
    REQUIRE(registry.open_round(run, 1, cluster));
    REQUIRE(registry.add_contribution(run, 1, {device, task("t"), crypto::sha256("u"), 1000, 30, 0.5, 2.0}, cluster));
    wire::Metrics metrics;
    metrics.samples = cluster == north ? 300 : 100;
    metrics.accuracy = cluster == north ? 0.5 : 0.9;
    REQUIRE(registry.save_metrics(run, 1, device, metrics, {}, cluster));
  }
  REQUIRE(registry.count_download(run, 1, 77, south));
  REQUIRE(registry.close_round(run, 1, 0.5, {crypto::sha256("n"), run, 1, crypto::sha256("l"), 10, 40, 0, north},
                               crypto::sha256("state")));

  const auto rounds = registry.rounds_of(run).value();
  REQUIRE(rounds.size() == 3);
  CHECK(rounds[0].cluster.empty());
  CHECK(rounds[0].bytes_up == 0);
  CHECK(rounds[0].accuracy.value() == doctest::Approx(0.6));
  CHECK(rounds[1].cluster == north);
  CHECK(rounds[1].participants == 1);
  CHECK(rounds[1].model == crypto::sha256("n"));
  CHECK(rounds[2].bytes_down == 77);
  CHECK(registry.rounds_of(run, rounds::ClusterId()).value().size() == 1);
  const auto of_south = registry.rounds_of(run, south).value();
  REQUIRE(of_south.size() == 1);
  CHECK(of_south[0].bytes_up == 1000);
  CHECK(registry.cluster_figures(run, south).value().size() == 1);
  CHECK(registry.contributions(run, 1, north).value().at(0).device == one);
  CHECK(registry.contributions(run, 1).value().empty());
  CHECK(registry.algorithm_state(run, 1, north).value() == crypto::sha256("state"));
  CHECK(registry.algorithm_state(run, 1).value().empty());
  CHECK(registry.models().value().at(0).cluster == north);
  const auto figures = registry.cluster_figures(run).value();
  REQUIRE(figures.size() == 2);
  CHECK(figures[1].cluster == south);
  CHECK(figures[1].accuracy == 0.9);
  CHECK(figures[0].samples == 300);
}
