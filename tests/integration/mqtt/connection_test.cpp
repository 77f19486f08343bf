#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flops/core/fd.hpp"
#include "party.hpp"
#include "tls_server.hpp"

namespace flops::mqtt {
namespace {

using namespace std::chrono_literals;

TEST_CASE("mqtt: nobody listens") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  broker.stop();
  const Error error = device.connect_refused();
  CHECK_MESSAGE(error.kind == ErrorKind::transient, error.what);
  CHECK_MESSAGE(error.what.find("refused") != std::string::npos, error.what);
  CHECK(device.losses.empty());
  SUBCASE("and later somebody does") {
    broker.start();
    device.failures.clear();
    device.connect();
  }
}

// This process's sockets that are connected to the broker.
std::vector<int> sockets_to(const test::Broker& broker) {
  std::vector<int> found;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 && peer.sin_family == AF_INET &&
        ntohs(peer.sin_port) == broker.port()) {
      found.push_back(fd);
    }
  }
  return found;
}

TEST_CASE("mqtt: nothing waits in the socket for an acknowledgement") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  device.connect();
  const std::vector<int> sockets = sockets_to(broker);
  REQUIRE(sockets.size() == 1);
  int at_once = 0;
  socklen_t size = sizeof at_once;
  REQUIRE(::getsockopt(sockets[0], IPPROTO_TCP, TCP_NODELAY, &at_once, &size) == 0);
  CHECK(at_once != 0);
}

TEST_CASE("mqtt: a broker that does not answer is given up after the timeout, once") {
  test::Broker broker;
  boost::asio::io_context loop;
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.connect_timeout = 300ms;
  Party device(loop, std::move(options));
  broker.freeze();
  const Error error = device.connect_refused();
  CHECK(error.kind == ErrorKind::transient);
  CHECK(error.what.find("within 300 ms") != std::string::npos);
  broker.thaw();
  device.failures.clear();
  device.connect();
  CHECK(device.connections == 1);
}

TEST_CASE("mqtt: a broker that goes away is a loss; what was under way fails, and connecting again works") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  device.connect();
  broker.freeze();
  int failed = 0;
  for (int i = 0; i < 500; ++i) {
    device.client().publish(device_topic("dev1", "up/log"), std::string(10'000, 'x'), {}, [&](Result<> result) {
      REQUIRE_FALSE(result);
      CHECK(result.error().kind == ErrorKind::transient);
      ++failed;
    });
  }
  CHECK(device.client().in_flight() == 500);
  broker.kill();
  REQUIRE(device.await_loss());
  CHECK(device.losses.size() == 1);
  CHECK(device.losses[0].kind == ErrorKind::transient);
  CHECK_FALSE(device.client().connected());
  CHECK(failed == 500);
  CHECK(device.client().in_flight() == 0);

  const auto outcome = device.publish(device_topic("dev1", "up/log"), "x");
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::transient);

  broker.start();
  device.connect();
  REQUIRE(device.publish(device_topic("dev1", "up/log"), "x"));
  CHECK(failed == 500);
}

// With AddressSanitizer this is about memory: the library's view of what failed while it was written.
TEST_CASE("mqtt: a broker that is killed in the middle of publications, again and again, costs only these") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  constexpr int times = 12;
  constexpr int publications = 100;
  for (int time = 1; time <= times; ++time) {
    device.connect();
    int settled = 0;
    int acknowledged = 0;
    for (int i = 0; i < publications; ++i) {
      device.client().publish(device_topic("dev1", "up/log"), std::string(20'000, 'x'), {.qos = i % 4 == 0 ? 0 : 1},
                              [&](const Result<>& result) {
                                ++settled;
                                acknowledged += result ? 1 : 0;
                              });
    }
    REQUIRE(test::run_until(loop, [&] { return acknowledged >= time; }));
    broker.kill();
    // More, while nobody has noticed.
    device.client().publish(device_topic("dev1", "up/log"), "late", {}, [&](const Result<>&) { ++settled; });
    REQUIRE(test::run_until(loop, [&] { return settled == publications + 1; }));
    REQUIRE(device.await_loss());
    CHECK(device.client().in_flight() == 0);
    device.losses.clear();
    broker.start();
  }
  device.connect();
  CHECK(device.publish(device_topic("dev1", "up/log"), "still here"));
}

TEST_CASE("mqtt: what a broker says in place of an answer is told, and what is no MQTT ends the connection") {
  test::Broker broker;  // for its certificates
  boost::asio::io_context loop;
  struct Case {
    std::string_view said;
    std::string_view told;
    ErrorKind kind;
    bool accepted;
  };
  using namespace std::string_view_literals;
  const std::array cases{
      Case{"\x20\x03\x00\x00\x00\xe0\x02\x8b\x00"sv, "(139)", ErrorKind::transient, true},
      Case{"\x20\x03\x00\x00\x00\xe0\x02\x8e\x00"sv, "(142)", ErrorKind::denied, true},
      Case{"\x20\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff"sv, "lost", ErrorKind::transient, true},
      Case{"\x20\x03\x00\x00\x00\x30\x03\x00\x09t"sv, "lost", ErrorKind::transient, true},
      Case{"\x20\x03\x00\x87\x00"sv, "(135)", ErrorKind::denied, false},
      Case{"\x20\x03\x00\x88\x00"sv, "(136)", ErrorKind::transient, false},
  };
  for (const auto& [said, told, kind, accepted] : cases) {
    CAPTURE(told);
    test::TlsServer server(broker.server_identity(), {.old = false, .answers = {std::string(said)}});
    Options options = options_for(broker, broker.identity("dev1"), "dev1");
    options.port = server.port();
    Party device(loop, std::move(options));
    device.client().connect();
    auto& outcomes = accepted ? device.losses : device.failures;
    REQUIRE(test::run_until(loop, [&] { return !outcomes.empty(); }));
    CHECK(device.connections == (accepted ? 1 : 0));
    CHECK(outcomes[0].kind == kind);
    CHECK_MESSAGE(outcomes[0].what.find(told) != std::string::npos, outcomes[0].what);
    CHECK_FALSE(device.client().connected());
  }
}

TEST_CASE("mqtt: what the broker says comes before what becomes of the connection") {
  test::Broker broker;  // for its certificates
  boost::asio::io_context loop;
  const std::string accepted("\x20\x03\x00\x00\x00", 5);
  const std::string taken_over("\xe0\x02\x8e\x00", 4);
  // CONNECT, and three publications that are never acknowledged.
  test::TlsServer server(broker.server_identity(), {.old = false, .answers = {accepted, "", "", taken_over}});
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.port = server.port();
  Party device(loop, std::move(options));
  device.connect();
  int failed = 0;
  for (int i = 0; i < 3; ++i) {
    device.client().publish("a", "x", {}, [&](const Result<>& result) { failed += result ? 0 : 1; });
  }
  REQUIRE(device.await_loss());
  CHECK(device.losses[0].kind == ErrorKind::denied);
  CHECK_MESSAGE(device.losses[0].what.find("(142)") != std::string::npos, device.losses[0].what);
  CHECK(failed == 3);
}

TEST_CASE("mqtt: the broker is asked for by its name, and by none when it has only an address") {
  test::Broker broker;  // for its certificates
  boost::asio::io_context loop;
  const test::TlsServer server(broker.server_identity(), {.old = false, .answers = {}});
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.port = server.port();
  std::string name;
  SUBCASE("a name") {
    name = "localhost";
  }
  SUBCASE("an address") {
    options.host = "127.0.0.1";
  }
  Party device(loop, std::move(options));
  static_cast<void>(device.connect_refused());
  // The client's own handshake and the one that looks for the reason.
  const auto names = server.names();
  CHECK(names.size() >= 2);
  CHECK(std::ranges::count(names, name) == std::ssize(names));
}

TEST_CASE("mqtt: a process with more than a thousand files open connects as well") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit more = before;
  more.rlim_cur = std::min<rlim_t>(before.rlim_max, 4096);
  REQUIRE(more.rlim_cur > FD_SETSIZE + 64);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &more) == 0);
  std::vector<Fd> files;
  while (files.empty() || files.back().get() < FD_SETSIZE) {
    files.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    REQUIRE(files.back().valid());
  }
  device.connect();
  CHECK(device.publish(device_topic("dev1", "up/log"), "x"));
  device.disconnect();
  files.clear();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

TEST_CASE("mqtt: a second connection with the same identity replaces the first") {
  test::Broker broker;
  boost::asio::io_context loop;
  const test::Identity identity = broker.identity("dev1");
  Party first(loop, options_for(broker, identity, "dev1"));
  first.connect();
  Party second(loop, options_for(broker, identity, "dev1"));
  second.connect();
  REQUIRE(first.await_loss());
  // This broker closes the connection without a word (2.0.11); others say 142.
  const bool told = first.losses[0].what.find("(142)") != std::string::npos;
  CHECK(first.losses[0].kind == (told ? ErrorKind::denied : ErrorKind::transient));
  CHECK(second.client().connected());
}

TEST_CASE("mqtt: the will is published when a client ends without a farewell, and not after a proper one") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  coordinator.connect();
  REQUIRE(coordinator.subscribe({root + "devices/+/state"}));
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.will = Will{device_topic("dev1", "state"), std::string("lo\0st", 5), true};

  SUBCASE("the client is destroyed") {
    Party device(loop, options);
    device.connect();
    device.destroy();
    REQUIRE(coordinator.await_messages(1));
    CHECK(coordinator.messages[0].payload == options.will->payload);
  }
  SUBCASE("the client disconnects") {
    Party device(loop, options);
    device.connect();
    device.disconnect();
    device.destroy();
    Party other(loop, broker, "dev2");
    other.connect();
    REQUIRE(other.publish(device_topic("dev2", "state"), "marker"));
    REQUIRE(coordinator.await_messages(1));
    CHECK(coordinator.messages[0].payload == "marker");
  }
}

TEST_CASE("mqtt: a new will holds from the next attempt on") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  coordinator.connect();
  REQUIRE(coordinator.subscribe({root + "devices/+/state"}));
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.will = Will{device_topic("dev1", "state"), "first", true};
  Party device(loop, options);
  device.client().set_will("second");
  device.connect();
  device.client().set_will("third");
  SUBCASE("of the first connection") {
    device.destroy();
    REQUIRE(coordinator.await_messages(1));
    CHECK(coordinator.messages[0].payload == "second");
  }
  SUBCASE("of the next one") {
    device.disconnect();
    device.connect();
    device.destroy();
    REQUIRE(coordinator.await_messages(1));
    CHECK(coordinator.messages[0].payload == "third");
  }
}

TEST_CASE("mqtt: the will is published when the process is killed") {
  test::Broker broker;
  const Options watcher = options_for(broker, broker.identity("coordinator"), "coordinator");
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.will = Will{device_topic("dev1", "state"), "lost", true};
  // Before this process has threads: a child of a process with threads could not start its own.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    boost::asio::io_context loop;
    Party device(loop, options);
    device.client().connect();
    if (!test::run_until(loop, [&] { return device.connections == 1; }) ||
        !device.publish(device_topic("dev1", "state"), "online")) {
      ::_exit(1);
    }
    ::raise(SIGKILL);
  }
  boost::asio::io_context loop;
  Party coordinator(loop, watcher);
  coordinator.connect();
  REQUIRE(coordinator.subscribe({root + "devices/+/state"}));
  REQUIRE(test::run_until(
      loop, [&] { return !coordinator.messages.empty() && coordinator.messages.back().payload == "lost"; }));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
}

TEST_CASE("mqtt: disconnecting waits for what is under way, and says so in any case") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  int done = 0;
  SUBCASE("all publications are acknowledged first") {
    device.connect();
    int acknowledged = 0;
    for (int i = 0; i < 300; ++i) {
      device.client().publish(device_topic("dev1", "up/log"), "x", {}, [&](Result<> result) {
        CHECK(result);
        ++acknowledged;
      });
    }
    device.disconnect();
    CHECK(acknowledged == 300);
  }
  SUBCASE("a broker that does not answer holds nobody up") {
    device.connect();
    broker.freeze();
    ErrorKind kind = ErrorKind::bug;
    device.client().publish(device_topic("dev1", "up/log"), "x", {}, [&](Result<> result) {
      REQUIRE_FALSE(result);
      kind = result.error().kind;
    });
    device.client().disconnect(200ms, [&] { ++done; });
    device.client().disconnect(200ms, [&] { ++done; });
    REQUIRE(test::run_until(loop, [&] { return done == 2; }));
    CHECK(kind == ErrorKind::cancelled);
    CHECK(device.losses.empty());
  }
  SUBCASE("nor does all that still waits to be sent: the connection is gone soon after") {
    Options options = options_for(broker, broker.identity("dev2"), "dev2");
    options.keep_alive = 600s;  // its end is not by chance
    Party busy(loop, std::move(options));
    busy.connect();
    broker.freeze();
    int failed = 0;
    for (int i = 0; i < 500; ++i) {
      busy.client().publish(device_topic("dev2", "up/log"), std::string(20'000, 'x'), {},
                            [&](const Result<>& result) { failed += result ? 0 : 1; });
    }
    busy.client().disconnect(200ms, [&] { ++done; });
    REQUIRE(test::run_until(loop, [&] { return done == 1; }));
    CHECK(failed == 500);
    CHECK(test::run_until(loop, [&] { return sockets_to(broker).empty(); }));
    broker.thaw();
    busy.connect();
    CHECK(busy.publish(device_topic("dev2", "up/log"), "again"));
  }
  SUBCASE("without a connection") {
    device.disconnect();
  }
  SUBCASE("while connecting: the attempt is reported as cancelled") {
    device.client().connect();
    device.client().disconnect(200ms, [&] { ++done; });
    REQUIRE(test::run_until(loop, [&] { return done == 1; }));
    CHECK(device.connections == 0);
    REQUIRE(device.failures.size() == 1);
    CHECK(device.failures[0].kind == ErrorKind::cancelled);
    device.failures.clear();
    device.connect();
  }
}

TEST_CASE("mqtt: what is wrongly asked for is refused without a connection being needed") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  const auto offline = device.subscribe({"a"});
  REQUIRE_FALSE(offline);
  CHECK(offline.error().kind == ErrorKind::transient);
  const auto qos2 = device.publish(device_topic("dev1", "up/log"), "x", {.qos = 2});
  REQUIRE_FALSE(qos2);
  CHECK(qos2.error().kind == ErrorKind::bug);
  device.connect();
  const auto none = device.subscribe({});
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == ErrorKind::bug);
  const auto malformed = device.subscribe({"a/#/b"});
  REQUIRE_FALSE(malformed);
  CHECK(malformed.error().kind == ErrorKind::bug);
  const auto wildcard = device.publish("a/+/b", "x");
  REQUIRE_FALSE(wildcard);
  CHECK(wildcard.error().kind == ErrorKind::bug);
  CHECK(device.losses.empty());
}

}  // namespace
}  // namespace flops::mqtt
