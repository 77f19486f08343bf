// Back-pressure, and ending in the middle of things.
#include <algorithm>

#include <boost/asio/post.hpp>

#include "party.hpp"

namespace flops::mqtt {
namespace {

std::string numbered(int n, std::size_t size) {
  std::string text = std::to_string(n) + " ";
  text.resize(size, '.');
  return text;
}

TEST_CASE("mqtt: a slow loop with a small mailbox loses nothing and keeps the order") {
  test::Broker broker;
  boost::asio::io_context slow;
  Options options = options_for(broker, broker.identity("coordinator"), "coordinator");
  options.mailbox_bytes = 64U << 10U;
  Party coordinator(slow, std::move(options));
  coordinator.connect();
  REQUIRE(coordinator.subscribe({root + "devices/+/up/#"}));

  constexpr int count = 5000;
  Party sender(slow, broker, "dev1");
  sender.connect();
  int acknowledged = 0;
  for (int i = 0; i < count; ++i) {
    sender.client().publish(device_topic("dev1", "up/log"), numbered(i, 4096), {}, [&](Result<> result) {
      REQUIRE(result);
      ++acknowledged;
    });
  }
  // The loop stands still until the connection's thread has had to wait.
  REQUIRE(test::wait_until([&] { return coordinator.client().stats().mailbox_waits > 0; }));
  REQUIRE(coordinator.await_messages(count));
  REQUIRE(test::run_until(slow, [&] { return acknowledged == count; }));
  CHECK(coordinator.messages.size() == count);
  int wrong = 0;
  for (int i = 0; i < count; ++i) {
    wrong += coordinator.messages[static_cast<std::size_t>(i)].payload == numbered(i, 4096) ? 0 : 1;
  }
  CHECK(wrong == 0);
  const Stats stats = coordinator.client().stats();
  // It was full, and never more than that.
  CHECK(stats.mailbox_peak_bytes <= 64U << 10U);
  CHECK(stats.mailbox_peak_bytes > (64U << 10U) - 2 * 4200U);
  CHECK(stats.mailbox_peak_messages == stats.mailbox_peak_bytes / (4096 + (root + "devices/dev1/up/log").size() + 64));
}

TEST_CASE("mqtt: publishing from inside a message handler while the mailbox is full does not lock up") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party sender(loop, broker, "dev1");
  sender.connect();
  constexpr int count = 500;
  int received = 0;
  int answered = 0;
  std::unique_ptr<Client> echo;
  Options options = options_for(broker, broker.identity("coordinator"), "coordinator");
  options.mailbox_bytes = 8U << 10U;
  bool subscribed = false;
  Handlers handlers;
  handlers.connected = [&](bool) {
    echo->subscribe({root + "devices/dev1/up/#"}, [&](Result<> result) { subscribed = result.has_value(); });
  };
  handlers.message = [&](Message message) {
    ++received;
    echo->publish(device_topic("dev1", "cmd/receipt"), std::move(message.payload), {}, [&](Result<> result) {
      REQUIRE(result);
      ++answered;
    });
  };
  auto created = Client::create(loop.get_executor(), std::move(options), std::move(handlers));
  REQUIRE(created);
  echo = std::move(*created);
  echo->connect();
  REQUIRE(test::run_until(loop, [&] { return subscribed; }));
  REQUIRE(sender.subscribe({device_topic("dev1", "cmd/#")}));
  for (int i = 0; i < count; ++i) {
    sender.client().publish(device_topic("dev1", "up/log"), numbered(i, 4096), {}, {});
  }
  REQUIRE(test::run_until(loop, [&] { return answered == count; }));
  CHECK(received == count);
  REQUIRE(sender.await_messages(count));
}

TEST_CASE("mqtt: a client is destroyed while its thread waits in a full mailbox, its own or a neighbour's") {
  test::Broker broker;
  boost::asio::io_context loop;
  Options options = options_for(broker, broker.identity("coordinator"), "coordinator");
  options.mailbox_bytes = 4U << 10U;
  Party full(loop, std::move(options));
  full.connect();
  REQUIRE(full.subscribe({root + "devices/+/up/#"}));
  Party sender(loop, broker, "dev1");
  sender.connect();
  int called = 0;
  for (int i = 0; i < 200; ++i) {
    sender.client().publish(device_topic("dev1", "up/log"), numbered(i, 4096), {}, [&](const Result<>&) { ++called; });
  }
  REQUIRE(test::wait_until([&] { return full.client().stats().mailbox_waits > 0; }));
  SUBCASE("its own") {
    full.destroy();
    const std::size_t before = full.messages.size();
    REQUIRE(test::run_until(loop, [&] { return called == 200; }));
    CHECK(full.messages.size() == before);
  }
  SUBCASE("the neighbour's") {
    const int before = called;
    sender.destroy();
    REQUIRE(full.await_messages(1));
    CHECK(called == before);
  }
}

TEST_CASE("mqtt: nothing is called after a client has been destroyed") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party device(loop, broker, "dev1");
  int called = 0;
  SUBCASE("while connecting") {
    device.client().connect();
  }
  SUBCASE("with publications under way") {
    device.connect();
    for (int i = 0; i < 100; ++i) {
      device.client().publish(device_topic("dev1", "up/log"), "x", {}, [&](const Result<>&) { ++called; });
    }
  }
  SUBCASE("while disconnecting") {
    device.connect();
    device.client().disconnect(test::patience, [&] { ++called; });
  }
  SUBCASE("never connected") {}
  const int connections = device.connections;
  device.destroy();
  bool drained = false;
  boost::asio::post(loop, [&] { drained = true; });
  REQUIRE(test::run_until(loop, [&] { return drained; }));
  loop.restart();
  loop.poll();
  CHECK(called == 0);
  CHECK(device.connections == connections);
  CHECK(device.failures.empty());
  CHECK(device.losses.empty());
}

}  // namespace
}  // namespace flops::mqtt
