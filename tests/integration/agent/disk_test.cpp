// Files of the agent's that cannot be written for a while.
#include <cerrno>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/test/failing_files.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("agent: a task whose update finds no room on the disk can be cancelled") {
  Fleet fleet;
  FailingFiles disk(program("tests/libfailing_files.so"), fleet.folder() / "disk");
  fleet.start_agent(disk.environment());
  (void)fleet.next<wire::Hello>("hello");
  const EncodedModel base = encode_model(fake_initial(7));
  fleet.publish_blob(base);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(fake_initial(7));
  task.base_blob = base.ref;
  fleet.command("task", task);
  const auto first = fleet.next<wire::ResultMessage>("result");  // from now on the device holds the model
  fleet.command("receipt", wire::Receipt{task.ref, first.update.sha256, wire::ReceiptStatus::accepted, {}});
  fleet.wait_for_state([](const wire::DeviceState& state) { return state.task.empty(); }, "the task to be over");

  // No room for an update, but for the few bytes that a task's state takes.
  disk.fail(FailingFiles::write, "contents.db", ENOSPC);
  task.ref.task = *TaskId::parse("t2");
  task.ref.round = 2;
  fleet.command("task", task);
  const auto in_trouble = [](const wire::DeviceState& state) { return !state.health.empty(); };
  fleet.wait_for_state([&](const wire::DeviceState& state) { return in_trouble(state) && state.task == "t2"; },
                       "the condition 'storage'");
  fleet.command("cancel", wire::Cancel{task.ref, "the round is over"});
  fleet.wait_for_state([&](const wire::DeviceState& state) { return state.task.empty(); }, "the task to be forgotten");
  CHECK(disk.failures() > 0);
  CHECK(fleet.waiting("result") == 0);

  disk.work();
  fleet.wait_for_state([&](const wire::DeviceState& state) { return !in_trouble(state); }, "all to be well");
  task.ref.task = *TaskId::parse("t3");
  task.ref.round = 3;
  fleet.command("task", task);
  CHECK(fleet.next<wire::ResultMessage>("result").ref == task.ref);
  CHECK(fleet.agent_runs());
}
