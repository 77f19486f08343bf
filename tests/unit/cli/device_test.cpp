// flopsctl device, access and audit: what is asked of the coordinator, and what is shown.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include "fake_coordinator.hpp"
#include "flops/report/views.hpp"

using namespace flops;
using namespace flops::cli_test;
namespace json = boost::json;

namespace {

constexpr const char* two_devices = R"({"devices": [
  {"id": "pi-1", "state": "accepted", "labels": {"site": "hall-3", "rack": "1"}},
  {"id": "pi-2", "state": "pending", "labels": {"site": "hall-3"}},
  {"id": "pi-3", "state": "accepted", "labels": {"site": "hall-4"}}]})";

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::vector<std::string> lines_of(const std::vector<http::Request>& requests) {
  std::vector<std::string> lines;
  for (const http::Request& request : requests) {
    lines.push_back(request.method + " " + request.path);
  }
  return lines;
}

}  // namespace

TEST_CASE("flopsctl: devices are chosen by id or by their labels, and each is changed") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/devices", 200, two_devices);
  for (const char* id : {"pi-1", "pi-2"}) {
    coordinator.answer(fmt::format("POST /v1/devices/{}/quarantine", id), 200, fmt::format(R"({{"id": "{}"}})", id));
  }
  const Ended ended = coordinator.run({"device", "quarantine", "-l", "site=hall-3", "--reason", "odd losses"});
  CHECK(ended.status == 0);
  CHECK(has(ended.out, "pi-2"));
  const auto requests = coordinator.requests();
  CHECK(lines_of(requests) == std::vector<std::string>{"GET /v1/devices", "POST /v1/devices/pi-1/quarantine",
                                                       "POST /v1/devices/pi-2/quarantine"});
  CHECK(json::parse(requests.at(1).body) == json::parse(R"({"reason": "odd losses"})"));
  CHECK(coordinator.run({"device", "quarantine", "-l", "site=hall-3,rack=9"}).status == 3);
  CHECK(coordinator.run({"device", "quarantine"}).status == 2);
  CHECK(coordinator.run({"device", "quarantine", "pi-1", "-l", "site=hall-3"}).status == 2);
  CHECK(coordinator.run({"device", "quarantine", "-l", "hall-3"}).status == 2);
  CHECK(coordinator.run({"device", "quarantine", "../x"}).status == 2);
}

TEST_CASE("flopsctl: one device that cannot be changed does not keep the others from it") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/devices/pi-1/approve", 409,
                     R"({"error": {"code": "state", "message": "it is revoked"}})");
  coordinator.answer("POST /v1/devices/pi-2/approve", 200, R"({"id": "pi-2"})");
  const Ended ended = coordinator.run({"device", "approve", "pi-1", "pi-2"});
  CHECK(ended.status == 1);
  CHECK(has(ended.err, "pi-1: the coordinator answered 409: it is revoked"));
  CHECK(has(ended.out, "pi-2"));
}

TEST_CASE("flopsctl: many devices are revoked only by somebody who is sure") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/devices", 200, two_devices);
  coordinator.answer("POST /v1/devices/pi-3/revoke", 200, R"({"id": "pi-3"})");
  const Ended asked = coordinator.run({"device", "revoke", "-l", "site=hall-4"});
  CHECK(asked.status == 2);
  CHECK(has(asked.err, "--yes"));
  CHECK(coordinator.requests().empty());
  CHECK(coordinator.run({"device", "revoke", "-l", "site=hall-4", "--yes"}).status == 0);
}

TEST_CASE("flopsctl: labels and settings are set and taken back") {
  FakeCoordinator coordinator;
  coordinator.answer("PATCH /v1/devices/pi-1", 200, R"({"id": "pi-1"})");
  CHECK(coordinator.run({"device", "label", "pi-1", "site=hall=3", "rack-"}).status == 0);
  CHECK(coordinator
            .run({"device", "configure", "pi-1", "--set", "conditions.max_temperature=70", "log_level=debug",
                  "conditions.time_windows=['22:00-06:00']", "--unset", "conditions.min_battery"})
            .status == 0);
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 2);
  CHECK(json::parse(requests.at(0).body) == json::parse(R"({"labels": {"site": "hall=3", "rack": null}})"));
  CHECK(json::parse(requests.at(1).body) ==
        json::parse(R"({"settings": {"conditions.max_temperature": "70", "log_level": "\"debug\"",
          "conditions.time_windows": "['22:00-06:00']", "conditions.min_battery": null}})"));
  CHECK(coordinator.run({"device", "label", "pi-1"}).status == 2);
  CHECK(coordinator.run({"device", "configure", "pi-1"}).status == 2);
  CHECK(coordinator.run({"device", "configure", "pi-1", "--set", "log_level"}).status == 2);
}

TEST_CASE("flopsctl: a list of devices can be narrowed") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/devices", 200, two_devices);
  const auto ids = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"device", "list", "-o", "json"});
    std::string found;
    const json::value answer = json::parse(coordinator.run(options).out);
    for (const auto& device : answer.at("devices").as_array()) {
      found += std::string(device.at("id").as_string()) + " ";
    }
    return found;
  };
  CHECK(ids({}) == "pi-1 pi-2 pi-3 ");
  CHECK(ids({"-l", "site=hall-3"}) == "pi-1 pi-2 ");
  CHECK(ids({"-l", "site=hall-3", "--state", "pending"}) == "pi-2 ");
  CHECK(coordinator.run({"device", "list", "--state", "lost"}).status == 2);
}

TEST_CASE("flopsctl: what a device tells cannot steer the terminal") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/devices/pi-1/log", 200, R"({"text": "one\n\u001b[2Jtwo\n"})");
  CHECK(coordinator.run({"device", "logs", "pi-1"}).out == "one\n?[2Jtwo\n");
  coordinator.answer("POST /v1/devices/pi-1/diagnosis", 409,
                     R"({"error": {"code": "offline", "message": "it is offline"}})");
  CHECK(coordinator.run({"device", "run-diag", "pi-1"}).status == 1);
}

TEST_CASE("flopsctl: access is given with a token that is shown once, and taken") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/access", 201, R"({"name": "ann", "role": "operator", "token": "secret"})");
  coordinator.answer("GET /v1/access", 200, R"({"access": [{"name": "ann", "role": "operator"}]})");
  coordinator.answer("DELETE /v1/access/ann", 204, "");
  coordinator.answer("GET /v1/audit", 200, R"({"audit": [{"who": "ann", "action": "revoked", "target": "pi-1"}]})");
  CHECK(coordinator.run({"access", "create", "ann", "--role", "operator"}).out == "secret\n");
  CHECK(has(coordinator.run({"access", "list"}).out, "ann   operator"));
  CHECK(coordinator.run({"access", "delete", "ann"}).status == 0);
  CHECK(has(coordinator.run({"audit", "--target", "token 3"}).out, "ann  revoked  pi-1"));
  const auto requests = coordinator.requests();
  CHECK(json::parse(requests.at(0).body) == json::parse(R"({"name": "ann", "role": "operator"})"));
  CHECK(requests.back().query.at("target") == "token 3");
  CHECK(coordinator.run({"access", "create", "ann", "--role", "king"}).status == 2);
}

TEST_CASE("views: what is wanted of a device, and whether it does it") {
  const auto shown = [](const char* configuration) {
    return report::device_details(json::parse(fmt::format(R"({{"id": "pi-1", "configuration": {}}})", configuration)));
  };
  CHECK_FALSE(has(shown(R"({"version": 0, "reported_version": 0})"), "configuration"));
  CHECK(has(shown(R"({"version": 2, "reported_version": 1, "problem": ""})"), "not taken yet"));
  CHECK(has(shown(R"({"version": 2, "reported_version": 2, "problem": "settings:1: no"})"), "refused: settings:1: no"));
  const std::string good =
      shown(R"({"version": 2, "reported_version": 2, "problem": "", "settings": {"log_level": "\"debug\""}})");
  CHECK(has(good, "as wanted (version 2)"));
  CHECK(has(good, "wanted log_level:"));
  CHECK(report::device_line(json::parse(R"({"state": "accepted", "online": true, "activity": "training", "task": "t",
    "paused": "hot", "health": [{"name": "clock"}]})")) ==
        "accepted, online, training (paused), task t, paused hot, health: clock");
}
