#include <doctest/doctest.h>

#include "flops/wire/topics.hpp"

using namespace flops;
using namespace flops::wire;

TEST_CASE("topics: what is built can be taken apart again") {
  const Topics topics(FleetId::parse("f").value());
  const DeviceId device = DeviceId::parse("d-1").value();
  const Digest blob = Digest::from_hex(std::string(64, 'a')).value();

  const auto state = topics.from_device(topics.device_state(device));
  REQUIRE(state.has_value());
  CHECK(state->what == Topics::FromDevice::What::state);
  CHECK(state->device == device);
  const auto up = topics.from_device(topics.up(device, "hello"));
  REQUIRE(up.has_value());
  CHECK(up->kind == "hello");
  const auto chunk = topics.from_device(topics.device_chunk(device, blob, 42));
  REQUIRE(chunk.has_value());
  CHECK(chunk->what == Topics::FromDevice::What::chunk);
  CHECK(chunk->blob == blob);
  CHECK(chunk->n == 42);

  const auto command = topics.for_device(device, topics.command(device, "task"));
  REQUIRE(command.has_value());
  CHECK(command->command == "task");
  const auto model = topics.for_device(device, topics.chunk(blob, 7));
  REQUIRE(model.has_value());
  CHECK(model->command.empty());
  CHECK(model->n == 7);
  CHECK(topics.status() == "flops/v1/f/status");
  CHECK(topics.run_status(RunId::parse("run-1").value()) == "flops/v1/f/runs/run-1/status");
}

TEST_CASE("topics: foreign and malformed ones are none of ours") {
  const Topics topics(FleetId::parse("f").value());
  const DeviceId device = DeviceId::parse("d-1").value();
  const std::string digest(64, 'a');
  for (const std::string& bad :
       {std::string(), std::string("flops/v1/g/devices/d-1/state"), std::string("flops/v1/f/devices/D/state"),
        std::string("flops/v1/f/devices/d-1/state/x"), std::string("flops/v1/f/devices/d-1/up"),
        std::string("flops/v1/f/devices/d-1/up/a/b"), "flops/v1/f/devices/d-1/blob/" + digest,
        "flops/v1/f/devices/d-1/blob/" + digest + "/x", "flops/v1/f/devices/d-1/blob/" + digest + "/-1",
        "flops/v1/f/devices/d-1/blob/" + digest + "/99999999999", std::string("flops/v1/f/devices/d-1/blob/abc/1"),
        std::string("flops/v2/f/devices/d-1/state")}) {
    CAPTURE(bad);
    CHECK_FALSE(topics.from_device(bad).has_value());
  }
  CHECK_FALSE(topics.for_device(device, "flops/v1/f/devices/d-2/cmd/task").has_value());
  CHECK_FALSE(topics.for_device(device, "flops/v1/f/blobs/" + digest).has_value());
}
