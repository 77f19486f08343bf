// Training that is interrupted, by accident or on purpose, goes on where it was.
#include <csignal>
#include <fstream>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/core/file.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Interrupted {
  wire::Task task;
  wire::BlobRef expected;  // the update it must end in
};

// Leaves the device in the middle of a task, after a checkpoint. What the task ends in is known from the same work
// under another name.
Interrupted in_the_middle(Fleet& fleet, const char* checkpoint = "a checkpoint is on the disk") {
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const EncodedModel base = encode_model(fake_initial(7));
  fleet.publish_blob(base);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(fake_initial(7));
  task.base_blob = base.ref;
  fleet.command("task", task);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  fleet.command("receipt", wire::Receipt{task.ref, offered.update.sha256, wire::ReceiptStatus::accepted, {}});
  task.ref.task = *TaskId::parse("t2");
  task.ref.round = 2;
  task.model = "staged";
  fleet.command("task", task);
  fleet.wait([&] { return fleet.agent_log().find(fmt::format("task t2: {}", checkpoint)) != std::string::npos; },
             checkpoint);
  return {task, offered.update};
}

void set_temperature(const Fleet& fleet, int degrees) {
  const auto zone = fleet.folder() / "system/sys/class/thermal/thermal_zone0";
  std::filesystem::create_directories(zone);
  std::ofstream(zone / "temp") << degrees * 1000 << '\n';
}

void ends_as_expected(Fleet& fleet, const Interrupted& work) {
  const auto result = fleet.next<wire::ResultMessage>("result");
  CHECK(result.ref == work.task.ref);
  CHECK(result.ok);
  CHECK(result.update == work.expected);
  CHECK(result.steps == fake_steps);
}

}  // namespace

TEST_CASE("agent: whatever ends in training, it goes on from the newest checkpoint and not from the start") {
  Fleet fleet;
  const Interrupted work = in_the_middle(fleet);
  SUBCASE("the agent is killed") {
    REQUIRE(fleet.stop_agent(SIGKILL).signalled);
    fleet.start_agent();
  }
  SUBCASE("the agent is stopped") {
    CHECK(fleet.stop_agent(SIGTERM).code == 0);
    fleet.start_agent();
  }
  SUBCASE("the trainer is killed") {
    const std::string agent = std::to_string(fleet.agent_pid());
    std::ifstream children("/proc/" + agent + "/task/" + agent + "/children");
    pid_t trainer = 0;
    children >> trainer;
    REQUIRE(trainer > 0);
    REQUIRE(::kill(trainer, SIGKILL) == 0);
  }
  ends_as_expected(fleet, work);
}

TEST_CASE("agent: on a hot device training waits, says why, and goes on from its checkpoint when it is cool") {
  Fleet fleet;
  set_temperature(fleet, 50);
  const Interrupted work = in_the_middle(fleet);
  set_temperature(fleet, 95);
  fleet.wait_for_state([](const auto& state) { return state.paused == "temperature 95 C is above 80 C"; }, "a pause");
  CHECK(fleet.waiting("result") == 0);
  set_temperature(fleet, 78);  // not yet clearly cool
  set_temperature(fleet, 60);
  ends_as_expected(fleet, work);
  fleet.wait_for_state([](const auto& state) { return state.paused.empty(); }, "no pause");
}

TEST_CASE("agent: a checkpoint that is only in memory is on the disk when the agent has stopped") {
  Fleet fleet;
  std::string settings = read_file(fleet.config_file()).value();
  const std::string always = "checkpoint_to_disk = \"0s\"";
  settings.replace(settings.find(always), always.size(), "checkpoint_to_disk = \"1h\"");
  REQUIRE(replace_file(fleet.config_file(), settings));
  set_temperature(fleet, 50);
  const Interrupted work = in_the_middle(fleet, "a checkpoint after 1 of 2 batches");
  CHECK(fleet.agent_log().find("a checkpoint is on the disk") == std::string::npos);
  SUBCASE("in a pause") {
    set_temperature(fleet, 95);
    fleet.wait_for_state([](const auto& state) { return !state.paused.empty(); }, "a pause");
    CHECK(fleet.stop_agent(SIGTERM).code == 0);
    set_temperature(fleet, 50);
  }
  SUBCASE("while the trainer has no time to answer") {
    CHECK(fleet.stop_agent(SIGTERM).code == 0);
  }
  CHECK(fleet.agent_log().find("a checkpoint is on the disk") != std::string::npos);
  fleet.start_agent();
  ends_as_expected(fleet, work);
}

TEST_CASE("agent: a task that comes to a hot device is taken and waits") {
  Fleet fleet;
  set_temperature(fleet, 95);
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  fleet.command("task", fleet.task("i1", 0, wire::TaskKind::init));
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  fleet.wait_for_state([](const auto& state) { return state.paused == "temperature 95 C is above 80 C"; }, "a pause");
  set_temperature(fleet, 40);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);
}
