// Training that goes on while there is no link ([offline] continue), and what comes of it.
#include <csignal>
#include <fstream>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_task/task_machine.hpp"
#include "flops/core/file.hpp"
#include "flops/tensor/control_variates.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// Too hot to train, or not: the device's only sensor is a file.
void set_temperature(const Fleet& fleet, int degrees) {
  const auto zone = fleet.folder() / "system" / "sys" / "class" / "thermal" / "thermal_zone0";
  std::filesystem::create_directories(zone);
  REQUIRE(replace_file(zone / "type", "cpu-thermal\n").has_value());
  REQUIRE(replace_file(zone / "temp", fmt::format("{}\n", degrees * 1000)).has_value());
}

void allow_rounds(const Fleet& fleet, int rounds) {
  std::ofstream(fleet.config_file(), std::ios::app) << fmt::format("[offline]\ncontinue = {}\n", rounds);
}

void wait_for_log(Fleet& fleet, const std::string& text) {
  fleet.wait([&] { return fleet.agent_log().find(text) != std::string::npos; }, text.c_str());
}

// A task for which everything is there, but training waits.
wire::Task give_task(Fleet& fleet, const std::string& model = "tiny") {
  const std::vector<float> base = fake_initial(7);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  wire::Task task = fleet.task("t1", 1);
  task.model = model;
  task.base = model_digest_of(base);
  task.base_blob = complete.ref;
  fleet.command("task", task);
  wait_for_log(fleet, "assembling -> ready");
  return task;
}

void cut_link(Fleet& fleet) {
  fleet.broker().kill();
  wait_for_log(fleet, "no connection to the broker");
}

void restore_link(Fleet& fleet) {
  fleet.broker().start();
  fleet.connect_coordinator();
  fleet.command("hello", wire::HelloRequest{});  // the device may have been back before we could listen
  (void)fleet.next<wire::Hello>("hello");
}

std::vector<float> trained_rounds(std::vector<float> values, std::uint64_t seed, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    values = fake_trained(std::move(values), agent::seed_of_local_round(seed, round));
  }
  return values;
}

// Takes the update from the device and compares it with so many local rounds from the true base.
void check_update(Fleet& fleet, const wire::Task& task, int rounds) {
  const auto result = fleet.next<wire::ResultMessage>("result");
  CHECK(result.ok);
  CHECK(result.ref == task.ref);
  CHECK(result.base == task.base);
  CHECK(result.weight == fake_samples);
  CHECK(result.local_rounds == rounds);
  CHECK(result.steps == rounds * static_cast<std::int64_t>(fake_steps));
  fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, 1000}}});
  const std::vector<float> base = fake_initial(7);
  CHECK(decode_update(fleet.receive_update(result.update), &base) == trained_rounds(base, task.seed, rounds));
  fleet.command("receipt", wire::Receipt{task.ref, result.update.sha256, wire::ReceiptStatus::accepted, {}});
  wait_for_log(fleet, "uploading -> finished");
}

}  // namespace

TEST_CASE("agent: offline it trains on for as many rounds as it may, and sends one update from the true base") {
  Fleet fleet;
  allow_rounds(fleet, 2);
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const wire::Task task = give_task(fleet);
  cut_link(fleet);
  set_temperature(fleet, 20);
  wait_for_log(fleet, "encoding -> offering");
  CHECK(fleet.agent_log().find("no link after 2 local rounds") != std::string::npos);
  restore_link(fleet);
  check_update(fleet, task, 3);
}

TEST_CASE("agent: without leave it trains its round offline and waits") {
  Fleet fleet;
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const wire::Task task = give_task(fleet);
  cut_link(fleet);
  set_temperature(fleet, 20);
  wait_for_log(fleet, "encoding -> offering");
  restore_link(fleet);
  check_update(fleet, task, 1);
}

TEST_CASE("agent: with control variates one round is all, also offline") {
  Fleet fleet;
  allow_rounds(fleet, 2);
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  std::vector<float> base = fake_initial(7);
  base.resize(2 * fake_parameters);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  wire::Task task = fleet.task("t1", 1);
  task.layout_text = tensor::with_variates(fake_model_layout())->canonical();
  task.training.control_variates = true;
  task.base = model_digest_of(base);
  task.base_blob = complete.ref;
  fleet.command("task", task);
  wait_for_log(fleet, "assembling -> ready");
  cut_link(fleet);
  set_temperature(fleet, 20);
  wait_for_log(fleet, "encoding -> offering");
  restore_link(fleet);
  CHECK(fleet.next<wire::ResultMessage>("result").local_rounds == 1);
}

TEST_CASE("agent: back online between two rounds it sends what it has, also when it may not train") {
  Fleet fleet;
  allow_rounds(fleet, 1000);
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  // The trainer leaves a checkpoint and hangs: it is killed with the agent, and goes on from there after that.
  const wire::Task task = give_task(fleet, "staged");
  cut_link(fleet);
  set_temperature(fleet, 20);
  wait_for_log(fleet, "a checkpoint is on the disk");
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  fleet.start_agent();
  wait_for_log(fleet, "no link after 1 local rounds");
  set_temperature(fleet, 95);
  wait_for_log(fleet, "ready -> running");
  fleet.wait([&] { return fleet.agent_log().rfind("ready -> running") > fleet.agent_log().find("no link after 1"); },
             "the second round");
  // The second round began with what the first gave, and not with the first one's checkpoint: it hangs.
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  fleet.start_agent();
  restore_link(fleet);
  check_update(fleet, task, 1);
}

TEST_CASE("agent: killed in every local round, offline training ends in the same update") {
  Fleet fleet;
  allow_rounds(fleet, 1);
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const wire::Task task = give_task(fleet, "staged");
  cut_link(fleet);
  set_temperature(fleet, 20);
  const auto checkpoints = [&] {
    std::size_t count = 0;
    const std::string log = fleet.agent_log();
    for (std::size_t at = log.find("a checkpoint is on the disk"); at != std::string::npos;
         at = log.find("a checkpoint is on the disk", at + 1)) {
      ++count;
    }
    return count;
  };
  for (const std::size_t round : {1U, 2U}) {
    fleet.wait([&] { return checkpoints() == round; }, "a checkpoint of this round");
    REQUIRE(fleet.stop_agent(SIGKILL).signalled);
    fleet.start_agent();
  }
  wait_for_log(fleet, "encoding -> offering");
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  fleet.start_agent();
  restore_link(fleet);
  check_update(fleet, task, 2);
}
