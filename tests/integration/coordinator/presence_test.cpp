// What the coordinator says of a device, when the device's messages come late or twice.
#include <doctest/doctest.h>

#include "device.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Presence {
  Presence() : coordinator(loop), device(coordinator, "a") {
    device.join(coordinator.token());
    state.online = true;
    state.session = "s";
  }

  void say(std::int64_t sequence, const std::string& activity, const std::string& task = "") {
    state.sequence = sequence;
    state.activity = activity;
    state.task = task;
    publish(state);
  }
  void publish(const wire::DeviceState& said) {
    const wire::Topics topics(FleetId::parse("test").value());
    REQUIRE(device.publish(topics.device_state(device.id()), wire::encode(said)).has_value());
  }
  void progress(const std::string& task, const std::string& phase) {
    wire::Progress progress;
    progress.ref.task = TaskId::parse(task).value();
    progress.ref.run = RunId::parse("run-1").value();
    progress.ref.cycle = 1;
    progress.ref.round = 1;
    progress.phase = phase;
    progress.total = 1;
    device.send("progress", wire::encode(progress));
  }
  // Messages of a device are answered in their order: when this one is, those before it have been read.
  boost::json::value shown() {
    device.send("surprise", R"({"v":1})");
    CHECK(device.await<wire::Refused>("refused").code == "kind");
    return coordinator.json("GET", "/v1/devices/a");
  }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  Device device;
  wire::DeviceState state;
};

}  // namespace

TEST_CASE("devices: a state that comes late or twice does not take the place of a newer one") {
  Presence here;
  here.say(1, "training", "run-1.r1.a");
  here.say(2, "idle");
  CHECK(here.shown().at("activity").as_string() == "idle");
  here.say(1, "training", "run-1.r1.a");
  CHECK(here.shown().at("activity").as_string() == "idle");
  wire::DeviceState will = here.state;
  will.online = false;
  will.sequence = 100;
  here.say(101, "idle");  // back over another connection
  here.publish(will);     // of the one before
  CHECK(here.shown().at("online").as_bool());
  here.say(102, "fetching", "run-1.r2.a");
  CHECK(here.shown().at("activity").as_string() == "fetching");
}

TEST_CASE("devices: what a replaced process of the agent had said, and its will, change nothing") {
  Presence here;
  here.say(7, "training", "run-1.r1.a");
  const wire::DeviceState before = here.state;
  here.state.session = "s2";
  here.say(1, "idle");
  here.publish(before);
  wire::DeviceState will = before;
  will.online = false;
  will.sequence = 100;
  here.publish(will);
  const auto shown = here.shown();  // the first refusal: nobody was told that the identity is shared
  CHECK(shown.at("online").as_bool());
  CHECK(shown.at("activity").as_string() == "idle");
}

TEST_CASE("devices: progress counts for the task that the device is at") {
  Presence here;
  here.say(1, "fetching", "run-1.r1.a");
  here.progress("run-1.r1.a", "training");
  CHECK(here.shown().at("activity").as_string() == "training");
  here.say(2, "idle");
  here.progress("run-1.r1.a", "training");  // repeated
  CHECK(here.shown().at("activity").as_string() == "idle");
}
