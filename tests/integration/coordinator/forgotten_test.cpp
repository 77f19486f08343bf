// What one side has forgotten: a device its base model, a coordinator after a power cut what it asked for.
#include <doctest/doctest.h>

#include "pair.hpp"

using namespace flops;
using namespace flops::test;

namespace {

namespace fs = std::filesystem;

void copy_records(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const char* name : {"coordinator.db", "coordinator.db-wal", "updates"}) {
    fs::remove_all(to / name);
    if (fs::exists(from / name)) {
      fs::copy(from / name, to / name, fs::copy_options::recursive);
    }
  }
}

}  // namespace

TEST_CASE("coordinator: a device that took a task and then finds its base damaged gets the task with the whole model") {
  Pair fleet;
  for (Device* device : {&fleet.a, &fleet.b}) {
    const auto first = Pair::task_of(*device, 1);
    REQUIRE(Pair::deliver(*device, fleet.work(*device, first, 7)) == wire::ReceiptStatus::accepted);
  }
  const auto task = Pair::task_of(fleet.a, 2);
  REQUIRE_FALSE(task.base_blob_base.empty());  // it held the base of the round before
  fleet.a.send("ack", wire::encode(wire::Ack{task.ref, wire::AckStatus::accepted, ""}));
  fleet.a.send("ack", wire::encode(wire::Ack{task.ref, wire::AckStatus::need_full, ""}));
  const auto whole = Pair::task_of(fleet.a, 2);
  CHECK(whole.ref.task == task.ref.task);
  CHECK(whole.base == task.base);
  CHECK(whole.base_blob_base.empty());
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: after a power cut that took a round back, its finished updates are not refused but counted") {
  Pair fleet;
  const TemporaryFolder before;
  const auto first_a = Pair::task_of(fleet.a, 1);
  const auto first_b = Pair::task_of(fleet.b, 1);
  const auto work_b = fleet.work(fleet.b, first_b, 8);
  REQUIRE(Pair::deliver(fleet.a, fleet.work(fleet.a, first_a, 7)) == wire::ReceiptStatus::accepted);

  const auto restart = [&](const std::function<void()>& meanwhile) {
    fleet.a.drop();
    fleet.b.drop();
    fleet.coordinator.kill();
    meanwhile();
    fleet.coordinator.start();
    connect_all({&fleet.a, &fleet.b});
  };
  restart([&] { copy_records(fleet.coordinator.state(), before.path()); });
  REQUIRE(Pair::deliver(fleet.b, work_b) == wire::ReceiptStatus::accepted);
  const auto second = Pair::task_of(fleet.a, 2);
  const auto work_a = fleet.work(fleet.a, second, 9);

  restart([&] { copy_records(before.path(), fleet.coordinator.state()); });
  fleet.a.send("result", wire::encode(work_a.offer));
  CHECK(run_until(fleet.loop, [&] {
    return fleet.coordinator.log().find("offers what was not asked for yet") != std::string::npos;
  }));
  REQUIRE(Pair::deliver(fleet.b, work_b) == wire::ReceiptStatus::accepted);
  CHECK(Pair::task_of(fleet.a, 2).ref.task == second.ref.task);
  CHECK(Pair::deliver(fleet.a, work_a) == wire::ReceiptStatus::accepted);
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: a device that was quarantined just before a power cut has no task after it") {
  Pair fleet;
  (void)Pair::task_of(fleet.a, 1);
  (void)Pair::task_of(fleet.b, 1);
  fleet.a.drop();
  fleet.b.drop();
  fleet.coordinator.kill();
  change_records(fleet.coordinator.state(), "UPDATE devices SET state='quarantined' WHERE id='a'");
  fleet.coordinator.start();
  CHECK(run_until(fleet.loop, [&] {
    return fleet.coordinator.log().find("a: the device was quarantined or revoked") != std::string::npos;
  }));
  connect_all({&fleet.a, &fleet.b});
  CHECK(fleet.a.await<wire::Notice>("notice").state == "quarantined");
  CHECK(Pair::task_of(fleet.b, 1).ref.round == 1);  // which the coordinator says after what it had to say to a
  CHECK_FALSE(fleet.a.has("task"));
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: while a run cannot be read it stays up, and nothing of that run is refused or removed") {
  Pair fleet;
  const auto task_a = Pair::task_of(fleet.a, 1);
  const auto task_b = Pair::task_of(fleet.b, 1);
  const auto work_a = fleet.work(fleet.a, task_a, 7);
  const auto work_b = fleet.work(fleet.b, task_b, 8);
  REQUIRE(Pair::deliver(fleet.a, work_a) == wire::ReceiptStatus::accepted);
  const auto restart = [&](const std::string& sql) {
    fleet.a.drop();
    fleet.b.drop();
    fleet.coordinator.kill();
    change_records(fleet.coordinator.state(), sql);
    fleet.coordinator.start();
    fleet.b.connect();
  };
  restart("UPDATE runs SET reason = spec, spec = '{}'");
  CHECK(run_until(fleet.loop, [&] {
    return fleet.coordinator.log().find("the record of run 'run-1' is not readable") != std::string::npos;
  }));
  fleet.b.send("result", wire::encode(work_b.offer));
  // Answered in turn: when this is, the result before it was silently passed over.
  fleet.b.send("surprise", R"({"v":1})");
  CHECK(fleet.b.await<wire::Refused>("refused").code == "kind");
  CHECK_FALSE(fleet.b.has("receipt"));
  const std::string hex = work_a.offer.update.sha256.hex();
  CHECK(fs::exists(fleet.coordinator.state() / "updates" / "objects" / hex.substr(0, 2) / hex));

  restart("UPDATE runs SET spec = reason, reason = ''");
  CHECK(Pair::deliver(fleet.b, work_b) == wire::ReceiptStatus::accepted);
  fleet.a.connect();
  CHECK(Pair::task_of(fleet.a, 2).ref.round == 2);
  CHECK(fleet.coordinator.stop() == 0);
}
