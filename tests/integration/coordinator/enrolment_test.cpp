#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/crypto/enrolment_token.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("enrolment: only a good token makes a device, and its name stays its own") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  Device impostor(coordinator, "a");
  Device b(coordinator, "b");
  const std::string once = coordinator.token();
  CHECK(a.enrol(once).status == 200);
  auto used = b.enrol(once);
  CHECK(used.status == 403);
  CHECK(used.body.find("token_used") != std::string::npos);
  auto taken = impostor.enrol(coordinator.token());
  CHECK(taken.status == 409);
  CHECK(taken.body.find("device_exists") != std::string::npos);
  CHECK(a.enrol(coordinator.token()).status == 200);  // the same key again

  const auto unknown = crypto::EnrolmentToken::generate(Digest()).text();
  CHECK(b.enrol(unknown).body.find("token_unknown") != std::string::npos);
  CHECK(b.enrol("nonsense").status == 403);
  CHECK(b.enrol(coordinator.token(), "coordinator").status == 400);
  CHECK(b.enrol(coordinator.token(), "UPPER").status == 400);
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", "{").status == 400);
  CHECK(coordinator.api_with("", "POST", "/v1/enrol", std::string(20'000, ' ')).status == 413);
  CHECK(coordinator.json("GET", "/v1/devices").at("devices").as_array().size() == 1);
}

TEST_CASE("devices: the API shows why a device does not train, and what is wrong with it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  a.join(coordinator.token());
  wire::DeviceState state;
  state.online = true;
  state.session = "s";
  state.activity = "training";
  state.paused = "temperature 81 C is above 80 C";
  state.health = {{"storage", "database or disk is full"}};
  REQUIRE(a.publish("flops/v1/test/devices/a/state", wire::encode(state)).has_value());
  CHECK(run_until(coordinator.loop(),
                  [&] { return coordinator.json("GET", "/v1/devices/a").at("paused").as_string() == state.paused; }));
  const boost::json::value shown = coordinator.json("GET", "/v1/devices/a");
  REQUIRE(shown.at("health").as_array().size() == 1);
  CHECK(shown.at("health").at(0).at("name").as_string() == "storage");
  CHECK(shown.at("health").at(0).at("text").as_string() == "database or disk is full");
}

TEST_CASE("enrolment: the broker lets a device reach its own topics and nothing else") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const std::string token = coordinator.token(2);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, token);
  for (const char* topic : {"flops/v1/test/devices/b/up/hello", "flops/v1/test/devices/b/state", "flops/v1/test/status",
                            "flops/v1/test/devices/a/cmd/task", "flops/v1/test/runs/run-1/status", "elsewhere"}) {
    CAPTURE(topic);
    const auto published = a.publish(topic, "x");
    REQUIRE_FALSE(published.has_value());
    CHECK(published.error().kind == ErrorKind::denied);
  }
}

TEST_CASE("api: every request needs a token that the coordinator knows") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  for (const char* path : {"/v1/devices", "/v1/runs", "/v1/models", "/v1/tokens", "/v1/runs/run-1"}) {
    CAPTURE(path);
    CHECK(coordinator.api_with("", "GET", path).status == 401);
    CHECK(coordinator.api_with("wrong", "GET", path).status == 401);
  }
  CHECK(coordinator.api_with("", "GET", "/livez").status == 200);
  CHECK(coordinator.api("GET", "/v1/nothing").status == 404);
  CHECK(coordinator.api("DELETE", "/v1/runs").status == 405);
  CHECK(coordinator.api("GET", "/v1/models/" + std::string(64, 'a')).status == 404);
  CHECK(coordinator.api("GET", "/v1/models/../ca.key").status != 200);
  CHECK(coordinator.api("POST", "/v1/runs", R"({"model":1})").status == 400);
  CHECK(coordinator.api("POST", "/v1/tokens", R"({"uses":0})").status == 400);
}
