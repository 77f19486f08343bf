// Parts that another coordinator asks for: what may be asked, and what their machine does.
#include <doctest/doctest.h>

#include "flops/rounds/part_request.hpp"
#include "flops/rounds/tree.hpp"
#include "script.hpp"

using namespace flops;
using namespace flops::rounds;
using namespace flops::rounds::testing;
using namespace std::chrono_literals;

namespace {

const std::string base(64, 'a');

std::string asking(const std::string& fields, const std::string& spec = R"("rounds":1)") {
  return R"({"v":1,"key":"run-1.r4.0a","spec":{"model":"m","data":"d",)" + spec + "}," + fields + "}";
}

std::string problems_of(const std::string& text) {
  const auto request = parse_part_request(text);
  REQUIRE_FALSE(request.has_value());
  CHECK(request.error().kind == ErrorKind::permanent);
  return request.error().what;
}

struct PartRun : Run {
  explicit PartRun(const std::string& fields, const std::string& spec = R"("rounds":1)") {
    const RunId id = state.id;
    state = part_state(parse_part_request(asking(fields, spec)).value());
    state.id = id;
  }
};

}  // namespace

TEST_CASE("part request: the three kinds") {
  const auto train = parse_part_request(
      asking(R"("kind":"train","base":")" + base + R"(","first_round":4,"sum":true)", R"("rounds":1,"min_fit":3)"));
  REQUIRE_MESSAGE(train.has_value(), train.error().what);
  CHECK(train->key.str() == "run-1.r4.0a");
  CHECK(train->kind == Part::rounds);
  CHECK(train->spec.min_fit == 3);
  CHECK(train->first_round == 4);
  CHECK(train->base == model('a'));
  CHECK(train->sum);
  const auto init = parse_part_request(asking(R"("kind":"init")"));
  REQUIRE_MESSAGE(init.has_value(), init.error().what);
  CHECK(init->kind == Part::initialise);
  CHECK(init->base.empty());
  CHECK(init->first_round == 1);
  const auto evaluate =
      parse_part_request(asking(R"("kind":"evaluate","first_round":5,"base":")" + base + '"', R"("rounds":2)"));
  REQUIRE_MESSAGE(evaluate.has_value(), evaluate.error().what);
  CHECK(part_state(*evaluate).round == 6);  // the model is that of the last round
}

TEST_CASE("part request: passed on to sites it is one cycle, and what was asked is known") {
  const std::string more = R"("kind":"train","base":")" + base + R"(","first_round":7)";
  const auto asked = parse_part_request(asking(more, R"("rounds":3)")).value();
  const auto passed = passed_on(asked);
  REQUIRE(passed.has_value());
  CHECK(passed->first_round == 3);
  CHECK(passed->spec.rounds == 3);
  CHECK(passed->spec.clusters.by == Grouping::By::sites);
  CHECK(last_round(part_state(*passed)) == 3);
  CHECK(as_asked(*passed) == asked);
  CHECK(as_asked(asked) == asked);
  PartRequest measuring = asked;
  measuring.kind = Part::evaluate;
  CHECK(part_state(passed_on(measuring).value()).round == 3);
  PartRequest between = asked;
  between.first_round = 8;
  CHECK(passed_on(between).error().kind == ErrorKind::permanent);
  // What no run over sites could be is refused, not stored.
  const auto steps = asking(R"("kind":"train","base":")" + base + '"', R"("rounds":1,"algorithm":"fedadam")");
  CHECK(passed_on(parse_part_request(steps).value()).error().what.find("passed on to sites") != std::string::npos);
}

TEST_CASE("part: of sites it goes on without those that fail, and fails when all do") {
  PartRun run(R"("kind":"train","base":")" + base + '"', R"("rounds":1)");
  PartRequest asked = parse_part_request(asking(R"("kind":"train","base":")" + base + '"')).value();
  const RunId id = run.state.id;
  run.state = part_state(passed_on(asked).value());
  run.state.id = id;
  auto tree = make_tree(run.state, {});
  const auto now = SteadyTime() + 1s;
  const auto ids = [](std::initializer_list<const char*> names) {
    std::set<DeviceId> all;
    for (const char* name : names) {
      all.insert(DeviceId::parse(name).value());
    }
    return all;
  };
  SUBCASE("all fail, long before any deadline") {
    (void)on_available(tree, {{{}, ids({"s1", "s2"})}}, now);
    REQUIRE(tree.top.phase == Phase::fitting);
    CHECK(tree.top.deadline > now + 24h * 6);
    for (const char* name : {"s1", "s2"}) {
      CHECK(tree.top.phase == Phase::fitting);
      const DeviceId site = DeviceId::parse(name).value();
      (void)on_event(tree, {}, TaskFailed{site, tree.top.participants.at(site).task, "0 of 2 devices"}, now);
    }
    CHECK(tree.top.phase == Phase::failed);
    CHECK(tree.top.reason == "s2: 0 of 2 devices");
  }
  SUBCASE("one fails") {
    (void)on_available(tree, {{{}, ids({"s1", "s2"})}}, now);
    const auto task = [&](const char* name) { return tree.top.participants.at(DeviceId::parse(name).value()).task; };
    (void)on_event(tree, {}, Contributed{DeviceId::parse("s1").value(), task("s1")}, now);
    CHECK(tree.top.phase == Phase::fitting);
    (void)on_event(tree, {}, TaskFailed{DeviceId::parse("s2").value(), task("s2"), "no"}, now);
    CHECK(tree.top.phase == Phase::aggregating);
  }
  SUBCASE("after a restart those that were there are waited for") {
    tree.top.least_wanted = 2;
    tree.top.deadline = now + 10s;
    (void)on_available(tree, {{{}, ids({"s1"})}}, now);
    CHECK(tree.top.phase == Phase::waiting);
    CHECK(tree.top.reason == "1 of 2 sites with the data 'd' are online");
    SUBCASE("all come") {
      (void)on_available(tree, {{{}, ids({"s1", "s2"})}}, now);
      CHECK(tree.top.participants.size() == 2);
    }
    SUBCASE("one does not") {
      (void)on_tick(tree, now + 11s);
      CHECK(tree.top.phase == Phase::fitting);
      CHECK(tree.top.participants.size() == 1);
    }
  }
}

TEST_CASE("part request: everything that is wrong is said") {
  const std::string all = problems_of(
      R"({"key":"Run 1","kind":"dance","base":"a","first_round":0,"sum":1,"extra":0,
          "spec":{"model":"m","rounds":0,"clusters":"hash:2"}})");
  for (const char* problem :
       {"v: is missing", "key: 'Run 1' is not a valid task id", "kind: expected one of: init, train, evaluate",
        "base: expected 64", "first_round: expected an integer from 1", "sum: expected true or false",
        "extra: unknown field", "spec.data: is missing", "spec.rounds: expected an integer from 1"}) {
    CHECK_MESSAGE(all.find(problem) != std::string::npos, problem << "\n" << all);
  }
  struct Row {
    const char* fields;
    const char* spec;
    const char* problem;
  };
  const std::string with_base = R"("kind":"train","base":")" + base + '"';
  const Row rows[] = {
      {"", R"("rounds":1,"clusters":"hash:2")", "spec.clusters: the devices of a part are in none"},
      {"", R"("rounds":1,"cycles":2)", "spec.cycles: a part is of one cycle"},
      {"", R"("rounds":1,"mode":"async")", "spec.mode: only sync"},
      {"", R"("rounds":1,"algorithm":"scaffold")", "spec.algorithm: scaffold is for flat runs"},
      {R"(,"sum":true)", R"("rounds":2)", "sum: only train with one round has a sum to give"},
      {R"(,"first_round":100000)", R"("rounds":2)", "first_round: the last round would be beyond 100000"},
  };
  for (const Row& row : rows) {
    CHECK(problems_of(asking(with_base + row.fields, row.spec)) == row.problem);
  }
  CHECK(problems_of(asking(R"("kind":"train")")) == "base: is missing");
  CHECK(problems_of(asking(R"("kind":"evaluate","sum":true,"base":")" + base + '"')) ==
        "sum: only train with one round has a sum to give");
  CHECK(problems_of(asking(R"("kind":"init","base":")" + base + '"')) ==
        "base: init makes the first model and begins with none");
  CHECK(problems_of(asking(R"("kind":"train","base":")" + std::string(64, '0') + '"')).starts_with("base: expected"));
}

TEST_CASE("part request: what is no object is refused") {
  for (const std::string text : {"", "[]", "7", "{", R"({"a":)", R"({"v":1,"spec":{"a":[[[[[[1]]]]]]}})"}) {
    CHECK(problems_of(text).starts_with("a part is a JSON object"));
  }
}

TEST_CASE("part: its rounds are counted on, and it ends with the model of the last one") {
  PartRun run(R"("kind":"train","first_round":7,"base":")" + base + '"', R"("rounds":2,"min_fit":2)");
  auto actions = run.feed(DevicesAvailable{devices(2)});
  REQUIRE(all<OpenRound>(actions).size() == 1);
  CHECK(all<OpenRound>(actions)[0].round == 7);
  const auto tasks = all<SendTask>(actions);
  REQUIRE(tasks.size() == 2);
  CHECK(tasks[0].kind == wire::TaskKind::train);
  CHECK(tasks[0].seed == task_seed(run.state.spec.seed, 7, tasks[0].device));
  CHECK(tasks[0].evaluate_first);  // the base
  CHECK(run.state.participants.at(device(1)).base == model('a'));
  run.contribute(1);
  CHECK(all<CloseRound>(run.contribute(2)).size() == 1);
  CHECK(all<OpenRound>(run.feed(Aggregated{model('b')}))[0].round == 8);
  run.contribute(1);
  run.contribute(2);
  CHECK(all<RunOver>(run.feed(Aggregated{model('c')})).size() == 1);
  CHECK(run.state.phase == Phase::finished);
  CHECK(run.state.model == model('c'));
}

TEST_CASE("part: its only round is closed too, and again after a restart") {
  PartRun run(R"("kind":"train","sum":true,"base":")" + base + '"', R"("rounds":1,"min_fit":1)");
  run.feed(DevicesAvailable{devices(1)});
  CHECK(all<CloseRound>(run.contribute(1)).size() == 1);
  CHECK(run.state.phase == Phase::aggregating);
  const auto again = on_restart(run.state, run.clock.steady());
  CHECK(all<OpenRound>(again).size() == 1);
  CHECK(all<CloseRound>(again).size() == 1);
  run.feed(Aggregated{model('b')});
  CHECK(run.state.phase == Phase::finished);
}

TEST_CASE("part: it does not wait for devices, but for those that come back") {
  PartRun run(R"("kind":"train","base":")" + base + '"', R"("rounds":1,"min_fit":2)");
  run.clock.advance(1s);
  SUBCASE("nobody is expected") {
    CHECK(all<RunOver>(run.feed(DevicesAvailable{devices(1)})).size() == 1);
    CHECK(run.state.phase == Phase::failed);
  }
  SUBCASE("expected, and not there in time") {
    run.state.deadline = run.clock.steady() + 10s;
    CHECK(run.feed(DevicesAvailable{devices(1)}).empty());
    CHECK(run.feed(Tick{}).empty());
    CHECK(run.state.phase == Phase::waiting);
    run.clock.advance(10s);
    CHECK(all<RunOver>(run.feed(Tick{})).size() == 1);
    CHECK(run.state.phase == Phase::failed);
  }
  SUBCASE("expected, and there") {
    run.state.deadline = run.clock.steady() + 10s;
    CHECK(run.feed(DevicesAvailable{devices(1)}).empty());
    CHECK(run.state.reason == "1 of 2 devices with the data 'd' are online");
    CHECK(all<SendTask>(run.feed(DevicesAvailable{devices(2)})).size() == 2);
    CHECK(run.state.phase == Phase::fitting);
    CHECK(run.state.reason.empty());
    return;
  }
  CHECK(run.state.reason == "1 of 2 devices with the data 'd' are online");
}

TEST_CASE("part: the first model, by one device, and a measurement by all") {
  PartRun init(R"("kind":"init")", R"("rounds":3,"min_fit":2)");
  REQUIRE(all<SendTask>(init.feed(DevicesAvailable{devices(1)})).size() == 1);
  CHECK(all<RunOver>(init.feed(Initialised{device(1), init.tasks[device(1)], model('b')})).size() == 1);
  CHECK(init.state.phase == Phase::finished);
  CHECK(init.state.model == model('b'));

  PartRun measure(R"("kind":"evaluate","first_round":4,"base":")" + base + '"', R"("rounds":3,"min_fit":2)");
  const auto tasks = all<SendTask>(measure.feed(DevicesAvailable{devices(2)}));
  REQUIRE(tasks.size() == 2);
  CHECK(tasks[0].kind == wire::TaskKind::evaluate);
  CHECK(tasks[0].round == 6);
  measure.feed(Evaluated{device(1), measure.tasks[device(1)]});
  const auto last = measure.feed(Evaluated{device(2), measure.tasks[device(2)]});
  CHECK(all<EvaluationClosed>(last)[0].round == 6);
  CHECK(measure.state.phase == Phase::finished);
}
