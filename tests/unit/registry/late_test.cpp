// Late updates in the records, and records from before there were any.
#include <doctest/doctest.h>

#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"
#include "version1.hpp"

using namespace flops;
using namespace flops::registry;
using namespace flops::registry::testing;

namespace {

const RunId first_run = RunId::parse("run-1").value();
const DeviceId one = DeviceId::parse("d-1").value();
const DeviceId two = DeviceId::parse("d-2").value();

TaskId task(const std::string& text) {
  return TaskId::parse(text).value();
}

rounds::RunSpec async_spec() {
  rounds::RunSpec spec;
  spec.model = "m";
  spec.data = "d";
  spec.mode = rounds::Mode::async;
  spec.buffer = 2;
  spec.max_staleness = 3;
  return spec;
}

}  // namespace

TEST_CASE("registry: a database of version 1 is brought up, and its run goes on as it was") {
  const test::TemporaryFolder folder;
  FakeClock clock;
  write_version1(folder / "c.db");
  for (int opened = 0; opened < 2; ++opened) {
    auto registry = Registry::open(folder / "c.db", clock);
    REQUIRE_MESSAGE(registry.has_value(), registry.error().what);
    std::map<std::string, wire::Role> roles;  // what was believed of a device is so from now on
    const auto devices = registry->devices().value();
    for (const DeviceRow& device : devices) {
      roles[device.id.str()] = device.role;
    }
    CHECK(roles == std::map<std::string, wire::Role>{{"a-device", wire::Role::device},
                                                     {"a-site", wire::Role::cluster},
                                                     {"garbled", wire::Role::device},
                                                     {"silent", wire::Role::device}});
    CHECK(registry->enrolment_tokens().value().at(0).role == wire::Role::device);
    const auto run = registry->run(first_run).value();
    REQUIRE(run.has_value());
    CHECK(run->state.spec.fraction == 0.5);
    CHECK(run->state.spec.mode == rounds::Mode::sync);
    CHECK(run->state.spec.max_staleness == 0);
    const auto& open = run->state.participants.at(two);
    CHECK(open.answer == rounds::Answer::none);
    CHECK(open.round == 2);
    CHECK(open.base.hex() == hex('b'));
    CHECK(rounds::staleness(run->state, open) == 0);

    for (const std::int64_t round : {1, 2}) {
      const auto rows = registry->contributions(first_run, round).value();
      for (const ContributionRow& row : rows) {
        CHECK(row.base_round == round);
        CHECK(row.codec == wire::lossless_codec);
        CHECK(row.base.hex() == (round == 1 ? hex('a') : hex('b')));
      }
    }
    CHECK(registry->rounds_of(first_run).value().at(0).participants == 2);
    CHECK(registry->rounds_of(first_run).value().at(0).late == 0);
    CHECK(registry->rounds_of(first_run).value().at(0).local_rounds == 2);
    CHECK(registry->rounds_of(first_run).value().at(0).dropped == 0);
    CHECK(registry->rounds_of(first_run).value().at(0).accuracy_min == 0.75);
    CHECK(registry->rounds_of(first_run).value().at(0).accuracy_max == 0.75);
    CHECK(registry->has_contributed(first_run, task("run-1.r1.bb"), two).value());
  }
}

TEST_CASE("registry: late participants and how many were wanted survive closing the file") {
  const test::TemporaryFolder folder;
  FakeClock clock;
  rounds::RunState state;
  {
    Registry registry = Registry::open(folder / "c.db", clock).value();
    state.spec = async_spec();
    state.id = registry.add_run(state.spec).value();
    state.phase = rounds::Phase::fitting;
    state.round = 3;
    state.wanted = 7;
    state.model = crypto::sha256("new");
    state.participants[one] = {task("t1"), wire::TaskKind::train, rounds::Answer::none, 1, crypto::sha256("old")};
    state.participants[two] = {task("t2"), wire::TaskKind::train, rounds::Answer::none, 3, crypto::sha256("new")};
    REQUIRE(registry.save_run(state));
    state.participants[two].answer = rounds::Answer::failed;
    REQUIRE(registry.save_participant(state, two));
  }
  const auto read = Registry::open(folder / "c.db", clock).value().run(state.id).value()->state;
  CHECK(read.spec == state.spec);
  CHECK(read.wanted == 7);
  CHECK(read.participants == state.participants);
}

TEST_CASE("registry: an update counts once, whatever round it is offered to") {
  const test::TemporaryFolder folder;
  FakeClock clock;
  Registry registry = Registry::open(folder / "c.db", clock).value();
  const RunId run = registry.add_run(async_spec()).value();
  for (const std::int64_t round : {1, 2, 3}) {
    REQUIRE(registry.open_round(run, round));
  }
  ContributionRow row{one, task("t1"), crypto::sha256("u"), 100, 10, 0.5, 1.0, 1, crypto::sha256("old")};
  CHECK_FALSE(registry.has_contributed(run, row.task, one).value());
  CHECK(registry.add_contribution(run, 2, row).value());
  CHECK(registry.has_contributed(run, row.task, one).value());
  CHECK_FALSE(registry.add_contribution(run, 2, row).value());
  CHECK_FALSE(registry.add_contribution(run, 3, row).value());
  row.task = task("t3");
  CHECK_FALSE(registry.add_contribution(run, 2, row).value());  // this device has one in round 2
  row.device = two;
  row.base_round = 2;
  CHECK(registry.add_contribution(run, 2, row).value());
  REQUIRE(registry.count_dropped(run, 2, 3));
  REQUIRE(registry.count_dropped(run, 2, 1));

  const auto stored = registry.contributions(run, 2).value();
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].base_round == 1);
  CHECK(stored[0].base == crypto::sha256("old"));
  const auto rounds = registry.rounds_of(run).value();
  CHECK(rounds[1].participants == 2);
  CHECK(rounds[1].late == 1);
  CHECK(rounds[1].dropped == 4);
  CHECK(rounds[2].late == 0);
}
