// Parts that another coordinator asked for.
#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::registry;

namespace {

struct Fixture {
  test::TemporaryFolder folder;
  FakeClock clock;
  Registry registry = open();

  Registry open() { return Registry::open(folder / "c.db", clock).value(); }
  void open_again() { registry = open(); }

  static rounds::PartRequest request(const char* key, const char* base) {
    rounds::PartRequest asked;
    asked.key = TaskId::parse(key).value();
    asked.spec.model = "m";
    asked.spec.data = "d";
    asked.spec.rounds = 2;
    asked.first_round = 5;
    asked.base = crypto::sha256(base);
    return asked;
  }
  RunId ask(const char* key, const char* base) { return registry.add_part(request(key, base), "layout", 7).value(); }
  void make_model(const RunId& run, std::int64_t round, const char* name) {
    REQUIRE(registry.open_round(run, round));
    ModelRow model;
    model.digest = crypto::sha256(name);
    model.run = run;
    model.round = round;
    model.layout = crypto::sha256("layout");
    REQUIRE(registry.close_round(run, round, 1, model));
  }
  std::set<Digest> to_remove(const RunId& run) {
    const auto models = registry.models_to_remove(run).value();
    return {models.begin(), models.end()};
  }
  static std::set<Digest> named(std::initializer_list<const char*> names) {
    std::set<Digest> digests;
    for (const char* name : names) {
      digests.insert(crypto::sha256(name));
    }
    return digests;
  }
};

}  // namespace

TEST_CASE("registry: a part is a run with an origin, and begins with its base") {
  Fixture fixture;
  rounds::PartRequest request = fixture.request("run-9.r5.ab", "base");
  request.sum = true;
  const RunId run = fixture.registry.add_part(request, "layout", 7).value();
  fixture.open_again();
  const RunRow row = *fixture.registry.run(run).value();
  CHECK(row.origin == "run-9.r5.ab");
  CHECK(row.state.part == rounds::Part::rounds);
  CHECK(row.state.first_round == 5);
  CHECK(row.state.phase == rounds::Phase::waiting);
  CHECK(row.state.round == 0);
  CHECK(row.state.model == crypto::sha256("base"));
  CHECK(row.state.spec == request.spec);
  CHECK(row.layout == "layout");
  CHECK(row.parameters == 7);
  const auto parts = fixture.registry.asked_parts(request.key).value();
  REQUIRE(parts.size() == 1);
  CHECK(parts[0] == AskedPart{request.key, run, request.base, true});
  CHECK(fixture.registry.asked_parts(TaskId::parse("other").value())->empty());
  const auto rounds = fixture.registry.rounds_of(run).value();
  REQUIRE(rounds.size() == 1);  // what devices measure before they train
  CHECK(rounds[0].round == 4);
  CHECK(rounds[0].model == request.base);

  CHECK_FALSE(fixture.registry.add_part(request, "layout", 7).has_value());  // one part a key
  CHECK(fixture.registry.runs()->size() == 1);
  CHECK(fixture.registry.runs()->front().origin == "run-9.r5.ab");
}

TEST_CASE("registry: a run that was asked for here has no origin") {
  Fixture fixture;
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  const RunId run = fixture.registry.add_run(spec).value();
  const RunRow row = *fixture.registry.run(run).value();
  CHECK(row.origin.empty());
  CHECK(row.state.part == rounds::Part::whole);
  CHECK(row.state.first_round == 1);
  CHECK(fixture.registry.asked_parts()->empty());
}

TEST_CASE("registry: a measurement is of the round that made the base") {
  Fixture fixture;
  rounds::PartRequest request = fixture.request("e", "base");
  request.kind = rounds::Part::evaluate;
  const RunId run = fixture.registry.add_part(request, "layout", 7).value();
  CHECK(fixture.registry.run(run).value()->state.round == 6);
  wire::Metrics metrics;
  metrics.samples = 10;
  metrics.accuracy = 0.5;
  metrics.loss = 2;
  REQUIRE(fixture.registry.save_metrics(run, 6, DeviceId::parse("a").value(), metrics));
  metrics.samples = 30;
  metrics.accuracy = 1;
  metrics.loss = 1;
  REQUIRE(fixture.registry.save_metrics(run, 6, DeviceId::parse("b").value(), metrics));
  const ModelFigures figures = fixture.registry.model_figures(run, 6).value();
  CHECK(figures.devices == 2);
  CHECK(figures.samples == 40);
  CHECK(figures.accuracy == 0.875);
  CHECK(figures.accuracy_min == 0.5);
  CHECK(figures.accuracy_max == 1);
  CHECK(figures.loss == 1.25);
  CHECK(fixture.registry.model_figures(run, 5)->devices == 0);
}

TEST_CASE("registry: a forgotten part takes with it the models that nothing else needs") {
  Fixture fixture;
  const RunId first = fixture.ask("first", "shared");
  const RunId second = fixture.ask("second", "shared");
  fixture.make_model(first, 5, "between");
  fixture.make_model(first, 6, "last");
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  const RunId own = fixture.registry.add_run(spec).value();
  fixture.make_model(own, 1, "last");  // the same model by chance
  CHECK(fixture.registry.needs_model(crypto::sha256("between")).value());
  CHECK_FALSE(fixture.registry.needs_model(crypto::sha256("never seen")).value());

  REQUIRE(fixture.registry.forget_part(first));
  fixture.open_again();
  CHECK(fixture.registry.asked_parts()->size() == 1);
  REQUIRE(fixture.registry.forgotten_parts().value() == std::vector{first});
  CHECK(fixture.to_remove(first) == Fixture::named({"between"}));
  const RunId again = fixture.ask("first", "shared");  // its key is free
  CHECK(again != first);
  REQUIRE(fixture.registry.remove_part(first, fixture.registry.models_to_remove(first).value()));
  CHECK(fixture.registry.forgotten_parts()->empty());
  CHECK(fixture.registry.asked_parts()->size() == 2);
  CHECK(fixture.registry.run(first).value()->origin == "first");  // it was

  for (const RunId& run : {second, again}) {
    REQUIRE(fixture.registry.forget_part(run));
  }
  CHECK(fixture.to_remove(second) == Fixture::named({"shared"}));
}
