#include <doctest/doctest.h>

#include <fstream>

#include <sqlite3.h>

#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::registry;
using namespace std::chrono_literals;

namespace {

struct Fixture {
  test::TemporaryFolder folder;
  FakeClock clock;
  Registry open() { return Registry::open(folder / "c.db", clock).value(); }
};

const DeviceId device = DeviceId::parse("d-1").value();
// Of a month, from the time it is asked for.
std::function<Result<IssuedCertificate>()> issuer(const FakeClock& clock, std::string serial) {
  return [&clock, serial] {
    const std::int64_t now = unix_ms(clock.wall()) / 1000;
    return Result<IssuedCertificate>(IssuedCertificate{serial, now, now + 30 * 86'400, "pem " + serial});
  };
}

rounds::RunSpec spec() {
  rounds::RunSpec run;
  run.model = "m";
  run.data = "d";
  return run;
}

}  // namespace

TEST_CASE("registry: tokens are used up, expire, and are never mistaken") {
  Fixture fixture;
  Registry registry = fixture.open();
  const auto issue = issuer(fixture.clock, "ab");
  const Digest secret = crypto::sha256("secret");
  const std::int64_t soon = unix_ms(fixture.clock.wall()) + 60'000;
  REQUIRE(registry.add_enrolment_token({secret, 2, soon, "two uses"}).has_value());

  CHECK(registry.enrol(crypto::sha256("other"), {device, "k1"}, issue).value().outcome == Enrolment::token_unknown);
  CHECK(registry.enrol(secret, {device, "k1"}, issue).value().outcome == Enrolment::done);
  CHECK(registry.enrol(secret, {device, "k2"}, issue).value().outcome == Enrolment::device_exists);
  const auto uses_left = [&] { return registry.enrolment_tokens().value().back().uses_left; };
  CHECK(uses_left() == 1);
  CHECK(registry.enrol(secret, {device, "k1"}, issue).value().outcome == Enrolment::done);  // its answer was lost
  CHECK(uses_left() == 1);
  const DeviceId other = DeviceId::parse("d-2").value();
  CHECK(registry.enrol(secret, {other, "k2"}, issue).value().outcome == Enrolment::done);
  CHECK(registry.enrol(secret, {DeviceId::parse("d-3").value(), "k3"}, issue).value().outcome == Enrolment::token_used);
  CHECK(registry.enrol(secret, {device, "k2"}, issue).value().outcome == Enrolment::token_used);
  CHECK(registry.enrol(secret, {device, "k1"}, issue).value().outcome == Enrolment::done);
  CHECK(registry.devices().value().size() == 2);

  const Digest late = crypto::sha256("late");
  REQUIRE(registry.add_enrolment_token({late, 5, soon}).has_value());
  fixture.clock.advance(61s);
  CHECK(registry.enrol(late, {device, "k1"}, issue).value().outcome == Enrolment::token_expired);
}

TEST_CASE("registry: what somebody is, is by the token it enrolled with") {
  Fixture fixture;
  Registry registry = fixture.open();
  const auto issue = issuer(fixture.clock, "ab");
  const std::int64_t soon = unix_ms(fixture.clock.wall()) + 60'000;
  const Digest plain = crypto::sha256("plain");
  const Digest for_sites = crypto::sha256("sites");
  REQUIRE(registry.add_enrolment_token({plain, 1, soon}).has_value());
  REQUIRE(registry.add_enrolment_token({for_sites, 1, soon, "", wire::Role::cluster}).has_value());
  CHECK(registry.enrol(plain, {device, "k", wire::Role::cluster}, issue).value().outcome == Enrolment::token_role);
  CHECK(registry.devices().value().empty());
  CHECK(registry.enrol(plain, {device, "k"}, issue).value().outcome == Enrolment::done);
  CHECK(registry.devices().value().at(0).role == wire::Role::device);
  CHECK(registry.enrol(for_sites, {device, "k", wire::Role::cluster}, issue).value().outcome ==
        Enrolment::done);  // it is a site now
  CHECK(registry.devices().value().at(0).role == wire::Role::cluster);
  const auto tokens = registry.enrolment_tokens().value();
  CHECK(tokens.at(0).role == wire::Role::cluster);
  CHECK(tokens.at(1).role == wire::Role::device);
  CHECK(tokens.at(1).uses_left == 0);
}

TEST_CASE("registry: when no certificate can be made, the token keeps its use and there is no device") {
  Fixture fixture;
  Registry registry = fixture.open();
  const Digest secret = crypto::sha256("secret");
  REQUIRE(registry.add_enrolment_token({secret, 1, unix_ms(fixture.clock.wall()) + 60'000}).has_value());
  const auto broken = [] { return Result<IssuedCertificate>(fail(ErrorKind::resource, "no entropy")); };
  CHECK_FALSE(registry.enrol(secret, {device, "k"}, broken).has_value());
  CHECK(registry.devices().value().empty());
  CHECK(registry.enrolment_tokens().value().at(0).uses_left == 1);
}

TEST_CASE("registry: a run, its round and its participants survive closing the file") {
  Fixture fixture;
  rounds::RunState state;
  {
    Registry registry = fixture.open();
    state.id = registry.add_run(spec()).value();
    CHECK(state.id.str() == "run-1");
    state.spec = spec();
    state.phase = rounds::Phase::fitting;
    state.round = 1;
    state.model = crypto::sha256("model");
    state.participants[device] = {TaskId::parse("t").value(), wire::TaskKind::train, rounds::Answer::none};
    REQUIRE(registry.save_run(state).has_value());
    REQUIRE(registry.open_round(state.id, 1).has_value());
    state.participants[device].answer = rounds::Answer::contributed;
    state.reason = "why";
    REQUIRE(registry.save_participant(state, device).has_value());
  }
  Registry registry = fixture.open();
  const auto run = registry.run(state.id).value();
  REQUIRE(run.has_value());
  CHECK(run->state.phase == rounds::Phase::fitting);
  CHECK(run->state.round == 1);
  CHECK(run->state.model == state.model);
  CHECK(run->state.reason == "why");
  CHECK(run->state.spec == state.spec);
  REQUIRE(run->state.participants.size() == 1);
  CHECK(run->state.participants.at(device).answer == rounds::Answer::contributed);
  CHECK(run->revision >= 4);
  CHECK_FALSE(registry.run(RunId::parse("run-9").value()).value().has_value());
}

TEST_CASE("registry: with its contribution a participant has answered, whatever is recorded after that") {
  Fixture fixture;
  const TaskId task = TaskId::parse("t").value();
  RunId run;
  {
    Registry registry = fixture.open();
    run = registry.add_run(spec()).value();
    rounds::RunState state = registry.run(run).value()->state;
    state.phase = rounds::Phase::fitting;
    state.round = 1;
    state.participants[device] = {task, wire::TaskKind::train, rounds::Answer::none};
    state.participants[DeviceId::parse("d-2").value()] = {TaskId::parse("u").value(), wire::TaskKind::train,
                                                          rounds::Answer::none};
    REQUIRE(registry.save_run(state));
    REQUIRE(registry.open_round(run, 1));
    CHECK(registry.add_contribution(run, 1, {device, task, crypto::sha256("u"), 1000, 30, 0.5, 2.0}).value());
    REQUIRE(registry.sync());
    REQUIRE(registry.sync());
  }
  const auto participants = fixture.open().run(run).value()->state.participants;
  CHECK(participants.at(device).answer == rounds::Answer::contributed);
  CHECK(participants.at(DeviceId::parse("d-2").value()).answer == rounds::Answer::none);
}

TEST_CASE("registry: a contribution counts once, and a round's figures are weighted by samples") {
  Fixture fixture;
  Registry registry = fixture.open();
  const RunId run = registry.add_run(spec()).value();
  REQUIRE(registry.open_round(run, 1).has_value());
  REQUIRE(registry.open_round(run, 1).has_value());  // repeated after a restart
  const DeviceId other = DeviceId::parse("d-2").value();
  ContributionRow row{device, TaskId::parse("t").value(), crypto::sha256("u"), 1000, 30, 0.5, 2.0};
  CHECK(registry.add_contribution(run, 1, row).value());
  CHECK_FALSE(registry.add_contribution(run, 1, row).value());
  row.device = other;
  row.weight = 10;
  row.train_loss = 0.9;
  row.train_seconds = 7.0;
  CHECK(registry.add_contribution(run, 1, row).value());
  wire::Metrics metrics;
  metrics.samples = 300;
  metrics.accuracy = 0.5;
  metrics.loss = 1.0;
  REQUIRE(registry.save_metrics(run, 1, device, metrics).has_value());
  REQUIRE(registry.save_metrics(run, 1, device, metrics).has_value());
  metrics.samples = 100;
  metrics.accuracy = 0.9;
  REQUIRE(registry.save_metrics(run, 1, other, metrics).has_value());
  REQUIRE(registry.count_download(run, 1, 77).has_value());
  REQUIRE(registry.count_rejected(run, 1).has_value());

  const auto rounds = registry.rounds_of(run).value();
  REQUIRE(rounds.size() == 1);
  CHECK(rounds[0].participants == 2);
  CHECK(rounds[0].bytes_up == 2000);
  CHECK(rounds[0].bytes_down == 77);
  CHECK(rounds[0].rejected == 1);
  CHECK(rounds[0].train_seconds_max == 7.0);
  CHECK(rounds[0].train_loss.value() == doctest::Approx(0.6));
  CHECK(rounds[0].accuracy.value() == doctest::Approx(0.6));
  CHECK(rounds[0].accuracy_min.value() == 0.5);
  CHECK(rounds[0].accuracy_max.value() == 0.9);
  CHECK(rounds[0].evaluated_samples == 400);
}

TEST_CASE("registry: a closed round says which state its algorithm goes on from, and losses are the last ones") {
  Fixture fixture;
  RunId run;
  {
    Registry registry = fixture.open();
    run = registry.add_run(spec()).value();
    for (const std::int64_t round : {1, 2}) {
      REQUIRE(registry.open_round(run, round));
      ContributionRow row{device, TaskId::parse(fmt::format("t{}", round)).value(), crypto::sha256("u"), 1000, 30, 0.5,
                          2.0};
      row.train_loss = static_cast<double>(round);
      row.steps = 12;
      CHECK(registry.add_contribution(run, round, row).value());
    }
    const ModelRow model{crypto::sha256("m"), run, 1, crypto::sha256("l"), 10, 40, 0};
    REQUIRE(registry.close_round(run, 1, 0.5, model, crypto::sha256("state")));
  }
  Registry registry = fixture.open();
  CHECK(registry.algorithm_state(run, 1).value() == crypto::sha256("state"));
  CHECK(registry.algorithm_state(run, 0).value().empty());
  CHECK(registry.algorithm_state(run, 2).value().empty());
  CHECK(registry.last_losses(run).value() == std::map<DeviceId, double>{{device, 2.0}});
  CHECK(registry.contributions(run, 2).value().at(0).steps == 12);
}

TEST_CASE("registry: API tokens have one role each") {
  Fixture fixture;
  Registry registry = fixture.open();
  REQUIRE(registry.add_api_token(crypto::sha256("a"), Role::admin, "admin").has_value());
  REQUIRE(registry.add_api_token(crypto::sha256("v"), Role::viewer, "view").has_value());
  CHECK(registry.api_caller(crypto::sha256("a")).value()->role == Role::admin);
  CHECK(registry.api_caller(crypto::sha256("v")).value()->role == Role::viewer);
  CHECK(registry.api_caller(crypto::sha256("v")).value()->name == "view");
  CHECK_FALSE(registry.api_caller(crypto::sha256("x")).value().has_value());
  CHECK(registry.add_api_token(crypto::sha256("b"), Role::admin, "view").error().kind == ErrorKind::permanent);
  CHECK(registry.api_tokens().value().size() == 2);
  CHECK(registry.remove_api_token("view").value());
  CHECK_FALSE(registry.remove_api_token("view").value());
  CHECK_FALSE(registry.api_caller(crypto::sha256("v")).value().has_value());
}

TEST_CASE("registry: a run that another version wrote is left out when it is over, and named when it is not") {
  Fixture fixture;
  rounds::RunState state;
  {
    Registry registry = fixture.open();
    state.spec = spec();
    state.id = registry.add_run(state.spec).value();
    REQUIRE(registry.add_run(state.spec).has_value());
    state.phase = rounds::Phase::failed;
    REQUIRE(registry.save_run(state).has_value());
  }
  const auto change = [&](const char* sql) {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open((fixture.folder / "c.db").c_str(), &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
  };
  change(R"(UPDATE runs SET spec = '{"model":"m","data":"d","newer":1}' WHERE id = 'run-1')");
  const auto readable = fixture.open().runs();
  REQUIRE_MESSAGE(readable.has_value(), readable.error().what);
  REQUIRE(readable->size() == 1);
  CHECK(readable->front().state.id.str() == "run-2");
  change(R"(UPDATE runs SET spec = '{"model":"m","data":"d","newer":1}' WHERE id = 'run-2')");
  const auto unreadable = fixture.open().runs();
  REQUIRE_FALSE(unreadable.has_value());
  CHECK(unreadable.error().what == "the record of run 'run-2' is not readable: newer: unknown field");
}

TEST_CASE("registry: a damaged file is refused at the start, whichever of its pages it is") {
  Fixture fixture;
  constexpr std::size_t page = 4096;
  {
    Registry registry = fixture.open();
    for (int i = 0; i < 200; ++i) {
      REQUIRE(registry.add_run(spec()).has_value());
    }
  }
  const auto file = fixture.folder / "c.db";
  const std::string whole = read_file(file, 16U << 20U).value();
  REQUIRE(whole.size() > 20 * page);
  int refused = 0;
  int pages = 0;
  for (std::size_t at = page; at < whole.size(); at += page, ++pages) {
    std::string damaged = whole;
    damaged.replace(at, page, page, '\xa5');
    std::ofstream(file, std::ios::binary) << damaged;
    const auto opened = Registry::open(file, fixture.clock);
    if (!opened) {
      ++refused;
      CHECK(opened.error().kind == ErrorKind::corrupt);
      CHECK(opened.error().what.find("records are damaged") != std::string::npos);
      CHECK(opened.error().what.find("from a backup") != std::string::npos);
    }
  }
  CHECK(refused == pages);
  std::ofstream(file, std::ios::binary) << whole;
  CHECK(fixture.open().runs().value().size() == 200);
}
