#include "party.hpp"

namespace flops::mqtt {
namespace {

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<char>((i * 31 + i / 253) & 0xff);
  }
  return bytes;
}

TEST_CASE("mqtt: payloads of every size arrive as they were sent") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.max_packet_bytes = 2U << 20U;
  Party device(loop, std::move(options));
  coordinator.connect();
  device.connect();
  REQUIRE(device.subscribe({device_topic("dev1", "cmd/#")}));
  std::uint64_t bytes = 0;
  for (const int qos : {1, 0}) {
    for (const std::size_t size : {0UL, 1UL, 255UL, 16'384UL, 65'537UL, 262'144UL, 1'048'576UL}) {
      CAPTURE(qos);
      CAPTURE(size);
      device.messages.clear();
      const std::string payload = pattern(size);
      REQUIRE(coordinator.publish(device_topic("dev1", "cmd/task"), payload, {.qos = qos}));
      REQUIRE(device.await_messages(1));
      CHECK(device.messages[0].topic == device_topic("dev1", "cmd/task"));
      CHECK(device.messages[0].payload == payload);
      CHECK_FALSE(device.messages[0].retained);
      bytes += size;
    }
  }
  CHECK(coordinator.client().stats().bytes_published == bytes);
  CHECK(coordinator.client().in_flight() == 0);
  CHECK(device.client().stats().bytes_received == bytes);
  CHECK(device.client().stats().messages_received == 14);
}

TEST_CASE("mqtt: a larger packet than this side accepts is not delivered, the next one is") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.max_packet_bytes = 10'000;
  Party device(loop, std::move(options));
  coordinator.connect();
  device.connect();
  REQUIRE(device.subscribe({device_topic("dev1", "cmd/#")}));
  REQUIRE(coordinator.publish(device_topic("dev1", "cmd/task"), std::string(20'000, 'x')));
  REQUIRE(coordinator.publish(device_topic("dev1", "cmd/task"), "small"));
  REQUIRE(device.await_messages(1));
  CHECK(device.messages[0].payload == "small");
}

TEST_CASE("mqtt: a retained message reaches who comes later, until an empty one removes it") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  coordinator.connect();
  REQUIRE(coordinator.publish(root + "status", "here", {.retain = true}));
  Party device(loop, broker, "dev1");
  device.connect();
  REQUIRE(device.subscribe({root + "status"}));
  REQUIRE(device.await_messages(1));
  CHECK(device.messages[0].payload == "here");
  CHECK(device.messages[0].retained);

  REQUIRE(coordinator.publish(root + "status", "", {.retain = true}));
  REQUIRE(device.await_messages(2));
  Party late(loop, broker, "dev2");
  late.connect();
  REQUIRE(late.subscribe({root + "status", root + "runs/#"}));
  // The end of the list of retained messages is marked by a message of our own.
  REQUIRE(coordinator.publish(root + "runs/r1/status", "marker"));
  REQUIRE(late.await_messages(1));
  CHECK(late.messages[0].payload == "marker");
}

TEST_CASE("mqtt: after unsubscribing nothing arrives, and unsubscribing twice is no error") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Party device(loop, broker, "dev1");
  coordinator.connect();
  device.connect();
  REQUIRE(device.subscribe({root + "status", root + "runs/#"}));
  REQUIRE(device.unsubscribe({root + "status"}));
  REQUIRE(device.unsubscribe({root + "status"}));
  REQUIRE(device.unsubscribe({root + "status", root + "blobs/x/0"}));
  REQUIRE(coordinator.publish(root + "status", "unheard"));
  REQUIRE(coordinator.publish(root + "runs/r1/status", "heard"));
  REQUIRE(device.await_messages(1));
  CHECK(device.messages[0].payload == "heard");
}

TEST_CASE("mqtt: a persistent session keeps what is published meanwhile, and what expires is gone") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  coordinator.connect();
  Options options = options_for(broker, broker.identity("dev1"), "dev1");
  options.session_expiry = std::chrono::hours(24);
  Party device(loop, std::move(options));
  device.connect();
  CHECK_FALSE(device.session_present);
  REQUIRE(device.subscribe({device_topic("dev1", "cmd/#")}));
  device.disconnect();

  const std::string topic = device_topic("dev1", "cmd/task");
  REQUIRE(coordinator.publish(topic, "short-lived", {.expiry = std::chrono::seconds(1)}));
  for (int i = 0; i < 200; ++i) {
    REQUIRE(coordinator.publish(topic, std::to_string(i), {.expiry = std::chrono::hours(1)}));
  }
  // The broker counts in whole seconds: two of them are past the first one's end.
  const auto expired = std::chrono::steady_clock::now() + std::chrono::milliseconds(2100);
  REQUIRE(test::run_until(loop, [&] { return std::chrono::steady_clock::now() >= expired; }));

  device.connect();
  CHECK(device.session_present);
  REQUIRE(device.await_messages(200));
  for (int i = 0; i < 200; ++i) {
    CHECK(device.messages[static_cast<std::size_t>(i)].payload == std::to_string(i));
  }
}

TEST_CASE("mqtt: without a session expiry every connection starts clean") {
  test::Broker broker;
  boost::asio::io_context loop;
  Party coordinator(loop, broker, "coordinator");
  Party device(loop, broker, "dev1");
  coordinator.connect();
  device.connect();
  REQUIRE(device.subscribe({root + "status"}));
  device.disconnect();
  device.connect();
  CHECK_FALSE(device.session_present);
  REQUIRE(coordinator.publish(root + "status", "unheard"));
  REQUIRE(device.subscribe({root + "runs/#"}));
  REQUIRE(coordinator.publish(root + "runs/r1/status", "heard"));
  REQUIRE(device.await_messages(1));
  CHECK(device.messages[0].payload == "heard");
}

}  // namespace
}  // namespace flops::mqtt
