#include <fstream>

#include "party.hpp"
#include "tls_server.hpp"

namespace flops::mqtt {
namespace {

TEST_CASE("mqtt: who is not let in is told why") {
  test::Broker broker;
  boost::asio::io_context loop;
  const test::Identity good = broker.identity("dev1");
  const auto hour = std::chrono::hours(1);
  struct Case {
    const char* name;
    test::Identity identity;
    const char* says;
    ErrorKind kind = ErrorKind::denied;
  };
  const std::vector<Case> cases = {
      {"a certificate of another CA", broker.foreign_identity("dev1"), "unknown ca"},
      {"an expired certificate", broker.identity("dev1", -hour, 2 * hour), "expired"},
      {"a certificate that is not valid yet", broker.identity("dev1", 2 * hour, -hour),
       "is before this device's certificate was made", ErrorKind::clock},
  };
  for (const Case& row : cases) {
    SUBCASE(row.name) {
      Party device(loop, options_for(broker, row.identity, "dev1"));
      const Error error = device.connect_refused();
      CHECK_MESSAGE(error.kind == row.kind, error.what);
      CHECK_MESSAGE(error.what.find(row.says) != std::string::npos, error.what);
    }
  }
  SUBCASE("the right certificate is let in by name and by address") {
    for (const char* host : {"localhost", "127.0.0.1"}) {
      Options options = options_for(broker, good, "dev1");
      options.host = host;
      Party device(loop, std::move(options));
      device.connect();
    }
  }
}

TEST_CASE("mqtt: a broker that is not ours is not trusted") {
  boost::asio::io_context loop;
  SUBCASE("its certificate is of another CA") {
    test::Broker ours;
    test::Broker theirs;
    Options options = options_for(theirs, ours.identity("dev1"), "dev1");
    Party device(loop, std::move(options));
    const Error error = device.connect_refused();
    CHECK_MESSAGE(error.kind == ErrorKind::denied, error.what);
    CHECK_MESSAGE(error.what.find("clock says") != std::string::npos, error.what);
  }
  SUBCASE("its certificate is for another name") {
    test::Broker broker({.server_names = {"elsewhere.example"}});
    Party device(loop, broker, "dev1");
    const Error error = device.connect_refused();
    CHECK_MESSAGE(error.kind == ErrorKind::denied, error.what);
    CHECK_MESSAGE(error.what.find("ostname mismatch") != std::string::npos, error.what);
  }
  SUBCASE("its certificate is of an authority under ours, a site's") {
    test::Broker broker;
    test::TlsServer site(broker.site_identity("hall-3"), {});
    Options options = options_for(broker, broker.identity("dev1"), "dev1");
    options.port = site.port();
    Party device(loop, std::move(options));
    const Error error = device.connect_refused();
    CHECK_MESSAGE(error.kind == ErrorKind::denied, error.what);
    CHECK(site.handshakes() == 0);
  }
  SUBCASE("it speaks only TLS 1.2") {
    test::Broker broker;
    test::TlsServer old(broker.server_identity(), {.old = true, .answers = {}});
    Options options = options_for(broker, broker.identity("dev1"), "dev1");
    options.port = old.port();
    Party device(loop, std::move(options));
    const Error error = device.connect_refused();
    CHECK_MESSAGE(error.kind == ErrorKind::denied, error.what);
    CHECK_MESSAGE(error.what.find("protocol version") != std::string::npos, error.what);
    CHECK(old.handshakes() == 0);
  }
}

TEST_CASE("mqtt: a client without a certificate cannot even be made, nor one with a foreign key") {
  test::Broker broker;
  boost::asio::io_context loop;
  const test::TemporaryFolder folder;
  const Options good = options_for(broker, broker.identity("dev1"), "dev1");
  const Options other = options_for(broker, broker.identity("dev2"), "dev2");
  std::ofstream(folder / "garbage.pem") << "not a certificate";
  struct Case {
    const char* name;
    std::filesystem::path Options::* file;
    std::filesystem::path value;
  };
  for (const Case& row :
       {Case{"no CA", &Options::ca_file, folder / "none"}, Case{"no certificate", &Options::certificate_file, ""},
        Case{"a certificate that is none", &Options::certificate_file, folder / "garbage.pem"},
        Case{"no key", &Options::key_file, folder / "none"},
        Case{"another's key", &Options::key_file, other.key_file}}) {
    SUBCASE(row.name) {
      Options options = good;
      options.*row.file = row.value;
      const auto client = Client::create(loop.get_executor(), options, {});
      REQUIRE_FALSE(client);
      CHECK(client.error().kind == ErrorKind::permanent);
      CHECK(client.error().what.find("cannot be used") != std::string::npos);
    }
  }
}

TEST_CASE("mqtt: a device reaches its own topics only") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Party device(loop, broker, "dev1");
  coordinator.connect();
  device.connect();
  REQUIRE(coordinator.subscribe({root + "devices/#"}));
  struct Case {
    const char* name;
    std::string topic;
    bool allowed;
  };
  for (const Case& row : {Case{"its own results", device_topic("dev1", "up/result"), true},
                          Case{"another's results", device_topic("dev2", "up/result"), false},
                          Case{"another's state", device_topic("dev2", "state"), false},
                          Case{"its own commands", device_topic("dev1", "cmd/task"), false},
                          Case{"the coordinator's status", root + "status", false},
                          Case{"a chunk for everyone", root + "blobs/abc/0", false}}) {
    SUBCASE(row.name) {
      const auto outcome = device.publish(row.topic, "x");
      CHECK(outcome.has_value() == row.allowed);
      if (row.allowed) {
        REQUIRE(coordinator.await_messages(1));
        CHECK(coordinator.messages[0].topic == row.topic);
      } else {
        CHECK(outcome.error().kind == ErrorKind::denied);
        CHECK(outcome.error().what.find("135") != std::string::npos);
        // What comes next gets through and is the first to arrive.
        const auto next = device.publish(device_topic("dev1", "up/log"), "next");
        REQUIRE_MESSAGE(next, (next ? "" : next.error().what));
        REQUIRE(coordinator.await_messages(1));
        CHECK(coordinator.messages[0].payload == "next");
      }
    }
  }
}

TEST_CASE("mqtt: a device that claims another's client id neither ends nor inherits that one's session") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  coordinator.connect();
  Options honest = options_for(broker, broker.identity("dev2"), "dev2");
  honest.session_expiry = std::chrono::hours(1);
  Party device(loop, std::move(honest));
  device.connect();
  REQUIRE(device.subscribe({device_topic("dev2", "cmd/#")}));

  Options claiming = options_for(broker, broker.identity("dev1"), "dev2");
  claiming.session_expiry = std::chrono::hours(1);
  Party thief(loop, std::move(claiming));
  thief.connect();
  CHECK_FALSE(thief.session_present);
  REQUIRE(coordinator.publish(device_topic("dev2", "cmd/task"), "for dev2"));
  REQUIRE(device.await_messages(1));
  CHECK(device.losses.empty());
  CHECK(thief.messages.empty());
}

// Mosquitto grants every subscription and withholds the messages instead, so what counts is what arrives.
TEST_CASE("mqtt: a device never hears another device's commands") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Party device(loop, broker, "dev1");
  coordinator.connect();
  device.connect();
  const auto outcome = device.subscribe({device_topic("dev2", "cmd/#"), device_topic("dev1", "cmd/#"), "#"});
  if (!outcome) {
    CHECK(outcome.error().kind == ErrorKind::denied);
    REQUIRE(device.subscribe({device_topic("dev1", "cmd/#")}));
  }
  REQUIRE(coordinator.publish(device_topic("dev2", "cmd/task"), "secret"));
  REQUIRE(coordinator.publish(device_topic("dev1", "cmd/task"), "mine"));
  REQUIRE(device.await_messages(1));
  CHECK(device.messages[0].payload == "mine");
}

}  // namespace
}  // namespace flops::mqtt
