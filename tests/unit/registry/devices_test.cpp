// The life of a device, as the registry records it.
#include <doctest/doctest.h>

#include <chrono>

#include "flops/core/clock.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/registry/registry.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::registry;
using namespace std::chrono_literals;

namespace {

const DeviceId pi = DeviceId::parse("pi-1").value();
constexpr std::int64_t month = 30LL * 86'400;
constexpr auto year = std::chrono::hours(24 * 365);

struct Fixture {
  test::TemporaryFolder folder;
  FakeClock clock;
  Registry registry = Registry::open(folder / "c.db", clock).value();
  int issued = 0;

  [[nodiscard]] std::int64_t seconds() const { return unix_ms(clock.wall()) / 1000; }
  std::function<Result<IssuedCertificate>()> issue() {
    return [this] {
      const std::string serial = fmt::format("{:02x}", ++issued);
      return Result<IssuedCertificate>(IssuedCertificate{serial, seconds(), seconds() + month, "pem " + serial});
    };
  }
  // A token; its secret is its name.
  void token(std::string_view name, bool by_hand = false, std::optional<DeviceId> only_for = {}) {
    NewToken made{crypto::sha256(name), 10, unix_ms(clock.wall()) + 3'600'000};
    made.by_hand = by_hand;
    made.only_for = std::move(only_for);
    REQUIRE(registry.add_enrolment_token(made).has_value());
  }
  Admission enrol(std::string_view token_name, const DeviceId& device, const std::string& key) {
    return registry.enrol(crypto::sha256(token_name), {device, key}, issue()).value();
  }
  DeviceRow row(const DeviceId& device = pi) { return registry.device(device).value().value(); }
  Renewal renew(const std::string& key = "key") { return registry.renew(pi, key, year, issue()).value(); }
};

}  // namespace

TEST_CASE("registry: a device becomes what its state allows, and nothing else") {
  struct Row {
    Standing from;
    Standing to;
    bool allowed;
  };
  using enum Standing;
  for (const Row& row :
       {Row{pending, accepted, true}, Row{pending, quarantined, false}, Row{pending, revoked, true},
        Row{accepted, pending, false}, Row{accepted, quarantined, true}, Row{accepted, revoked, true},
        Row{quarantined, accepted, true}, Row{quarantined, pending, false}, Row{quarantined, revoked, true},
        Row{revoked, accepted, false}, Row{revoked, quarantined, false}, Row{revoked, pending, false}}) {
    CAPTURE(to_string(row.from));
    CAPTURE(to_string(row.to));
    CHECK(may_become(row.from, row.to) == row.allowed);
  }
}

TEST_CASE("registry: a device that waits for approval gets its certificate when it asks again") {
  Fixture fixture;
  fixture.token("by hand", true);
  CHECK(fixture.enrol("by hand", pi, "key").outcome == Enrolment::pending);
  CHECK(fixture.row().standing == Standing::pending);
  CHECK(fixture.issued == 0);
  CHECK(fixture.enrol("by hand", pi, "key").outcome == Enrolment::pending);
  CHECK(fixture.registry.enrolment_tokens().value().at(0).uses_left == 9);

  REQUIRE(fixture.registry.set_standing(pi, Standing::accepted, "", "ann").has_value());
  fixture.clock.advance(2h);  // the token has expired: it enrolled in time
  CHECK(fixture.enrol("by hand", pi, "key").outcome == Enrolment::done);
  CHECK(fixture.issued == 1);
  CHECK(fixture.row().certificate_serial == "01");
  CHECK(fixture.enrol("by hand", DeviceId::parse("pi-2").value(), "k").outcome == Enrolment::token_expired);
}

TEST_CASE("registry: a revoked device comes back with a new key and a token that is made for it, and not otherwise") {
  Fixture fixture;
  fixture.token("any");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  REQUIRE(fixture.registry.set_standing(pi, Standing::revoked, "stolen", "ann").has_value());
  CHECK(fixture.row().reason == "stolen");
  REQUIRE(fixture.registry.revoked_certificates().value().size() == 1);
  CHECK(fixture.registry.revoked_certificates().value().at(0).serial == "01");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::device_revoked);
  CHECK(fixture.enrol("any", pi, "new key").outcome == Enrolment::device_revoked);
  CHECK(fixture.registry.set_standing(pi, Standing::accepted, "", "ann").error().kind == ErrorKind::permanent);

  fixture.token("for pi-1", false, pi);
  CHECK(fixture.enrol("for pi-1", DeviceId::parse("pi-2").value(), "k").outcome == Enrolment::token_device);
  CHECK(fixture.enrol("for pi-1", pi, "key").outcome == Enrolment::device_revoked);
  const Admission back = fixture.enrol("for pi-1", pi, "new key");
  CHECK(back.outcome == Enrolment::done);
  CHECK(back.key_replaced);
  CHECK(fixture.row().standing == Standing::accepted);
  CHECK(fixture.row().reason.empty());
  CHECK(fixture.row().public_key == "new key");
}

TEST_CASE("registry: a device that lost its key takes its id over, and what it had before is revoked") {
  Fixture fixture;
  fixture.token("any");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  CHECK(fixture.enrol("any", pi, "new key").outcome == Enrolment::device_exists);
  fixture.token("for pi-1", false, pi);
  CHECK(fixture.enrol("for pi-1", pi, "new key").key_replaced);
  const auto revoked = fixture.registry.revoked_certificates().value();
  REQUIRE(revoked.size() == 1);
  CHECK(revoked.at(0).serial == "01");
  CHECK(fixture.row().certificate_serial == "02");
}

TEST_CASE("registry: certificates are renewed in the second half of their life, by whoever holds the key") {
  Fixture fixture;
  using enum Renewal::Outcome;
  CHECK(fixture.renew().outcome == unknown_device);
  fixture.token("any");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  Renewal renewal = fixture.renew();
  CHECK(renewal.outcome == current);  // its answer was lost, perhaps
  CHECK(renewal.pem == "pem 01");
  fixture.clock.advance(std::chrono::hours(24 * 14));
  CHECK(fixture.renew().outcome == current);
  fixture.clock.advance(std::chrono::hours(24 * 6));
  CHECK(fixture.renew("another key").outcome == wrong_key);
  renewal = fixture.renew();
  CHECK(renewal.outcome == issued);
  CHECK(renewal.pem == "pem 02");
  CHECK(fixture.renew().outcome == current);
  CHECK(fixture.issued == 2);

  // Both are revoked: the old one is still good.
  REQUIRE(fixture.registry.set_standing(pi, Standing::revoked, "", "ann").has_value());
  CHECK(fixture.registry.revoked_certificates().value().size() == 2);
  CHECK(fixture.renew().outcome == revoked);
  fixture.clock.advance(std::chrono::hours(24 * 15));
  CHECK(fixture.registry.revoked_certificates().value().size() == 1);  // the list does not grow for ever
}

TEST_CASE("registry: a certificate that has expired is renewed for so long, and then not") {
  Fixture fixture;
  fixture.token("any");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  fixture.clock.advance(std::chrono::hours(24 * (30 + 364)));
  CHECK(fixture.renew().outcome == Renewal::Outcome::issued);
  fixture.clock.advance(std::chrono::hours(24 * (30 + 366)));
  CHECK(fixture.renew().outcome == Renewal::Outcome::too_late);
}

TEST_CASE("registry: a quarantined device keeps its state when it enrols again with its key") {
  Fixture fixture;
  fixture.token("any");
  fixture.token("another");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  REQUIRE(fixture.registry.set_standing(pi, Standing::quarantined, "two machines", "coordinator").has_value());
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  CHECK(fixture.enrol("another", pi, "key").outcome == Enrolment::done);
  CHECK(fixture.row().standing == Standing::quarantined);
  CHECK(fixture.row().reason == "two machines");
}

TEST_CASE("registry: who did what is noted once, the newest first") {
  Fixture fixture;
  fixture.token("any");
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);
  CHECK(fixture.enrol("any", pi, "key").outcome == Enrolment::done);  // again: no news
  REQUIRE(fixture.registry.set_standing(pi, Standing::quarantined, "odd losses", "ann").has_value());
  REQUIRE(fixture.registry.set_standing(pi, Standing::quarantined, "odd losses", "bob").has_value());
  REQUIRE(fixture.registry.set_wanted(pi, {1, {{"site", "hall-3"}}, {}}, "bob", "site=hall-3").has_value());
  const auto log = fixture.registry.audit_log("pi-1", 10).value();
  REQUIRE(log.size() == 3);
  CHECK(log.at(0).who == "bob");
  CHECK(log.at(0).action == "configured");
  CHECK(log.at(0).detail == "site=hall-3");
  CHECK(log.at(1).action == "quarantined");
  CHECK(log.at(1).who == "ann");
  CHECK(log.at(2).who == "token 1");
  CHECK(fixture.registry.audit_log("", 2).value().size() == 2);
  CHECK(fixture.registry.audit_log("pi-2", 10).value().empty());
  CHECK(fixture.row().wanted.labels.at("site") == "hall-3");
}
