#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::registry;

TEST_CASE("registry: projects keep their owner, their runs know them, and both survive closing the file") {
  const test::TemporaryFolder folder;
  const FakeClock clock;
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  const Digest manifest = crypto::sha256("manifest");
  {
    Registry registry = Registry::open(folder / "c.db", clock).value();
    CHECK(registry.add_run(spec).value().str() == "run-1");
    const RunSource source{"https://example.org/x", "0123", manifest};
    CHECK(registry.add_run(spec, {"p", "ada", "first", {"a", "b c"}}, source).value().str() == "run-2");
    CHECK(registry.add_run(spec, {"p", "bob", "second", {}}, {"/folder", "", manifest}).value().str() == "run-3");
    CHECK(registry.add_run(spec, {"a", "bob", "", {}}, {}).value().str() == "run-4");
    REQUIRE(registry.set_paused(RunId::parse("run-2").value(), true));
  }
  Registry registry = Registry::open(folder / "c.db", clock).value();
  const auto all = registry.projects().value();
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "a");
  const auto found = registry.projects("p").value();
  REQUIRE(found.size() == 1);
  CHECK(found[0].owner == "ada");  // who submitted it first
  CHECK(found[0].description == "second");
  CHECK(found[0].tags.empty());
  CHECK(found[0].created_at == unix_ms(clock.wall()));
  CHECK(registry.projects("none").value().empty());

  const auto run = registry.run(RunId::parse("run-2").value()).value();
  REQUIRE(run.has_value());
  CHECK(run->project == "p");
  CHECK(run->source.place == "https://example.org/x");
  CHECK(run->source.commit == "0123");
  CHECK(run->source.manifest == manifest);
  CHECK(run->paused);
  const auto plain = registry.run(RunId::parse("run-1").value()).value();
  CHECK(plain->project.empty());
  CHECK(plain->source.manifest.empty());
  CHECK_FALSE(plain->paused);
  CHECK(registry.paused_runs().value() == std::vector<RunId>{RunId::parse("run-2").value()});
  rounds::RunState stopped = registry.run(RunId::parse("run-3").value()).value()->state;
  REQUIRE(registry.set_paused(stopped.id, true));
  stopped.phase = rounds::Phase::stopped;
  REQUIRE(registry.save_run(stopped));
  CHECK(registry.paused_runs().value().size() == 1);
  REQUIRE(registry.set_paused(RunId::parse("run-2").value(), false));
  CHECK(registry.paused_runs().value().empty());
  CHECK_FALSE(registry.run(RunId::parse("run-2").value()).value()->paused);

  REQUIRE(registry.remove_project("p"));
  CHECK(registry.projects("p").value().empty());
  CHECK(registry.run(RunId::parse("run-2").value()).value()->project.empty());
  CHECK(registry.run(RunId::parse("run-4").value()).value()->project == "a");
}
