// Files of the coordinator's that cannot be read or written for a while, in the middle of a run.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include <doctest/doctest.h>

#include "flops/test/failing_files.hpp"
#include "onlooker.hpp"
#include "pair.hpp"

using namespace flops;
using namespace flops::test;

namespace {

namespace fs = std::filesystem;

struct Disk {
  TemporaryFolder folder;
  FailingFiles files{fs::path(std::getenv("FLOPS_BIN")) / "tests" / "libfailing_files.so", folder / "disk"};
};

// In the middle, where no format notices.
void flip_a_bit(const fs::path& file) {
  std::fstream content(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(fs::file_size(file) / 2);
  content.seekg(middle);
  const int byte = content.get();
  content.seekp(middle);
  content.put(static_cast<char>(byte ^ 0x10));
  REQUIRE(content.flush());
}

// A fleet whose coordinator's disk can fail.
struct Frail : Disk, Pair {
  Frail() : Pair(files.environment()) {}

  // Messages of a device are answered in their order: when this one is, those before it have been read.
  static void settle(Device& device) {
    device.send("surprise", R"({"v":1})");
    REQUIRE(device.await<wire::Refused>("refused").code == "kind");
  }
  [[nodiscard]] bool shows_trouble() { return !coordinator.json("GET", "/v1/status").at("health").as_array().empty(); }
  // A storage that works again is found to do so within seconds.
  void until_well() {
    REQUIRE(run_until(loop, [&] { return !shows_trouble(); }));
  }
  // The first model's update is removed within seconds; nothing else may do what a test waits for.
  void until_swept() {
    REQUIRE(run_until(loop, [&] {
      const fs::recursive_directory_iterator stored(coordinator.state() / "updates" / "objects");
      return std::none_of(begin(stored), end(stored), [](const auto& entry) { return entry.is_regular_file(); });
    }));
  }
  void until_failed(std::uint64_t times) {
    REQUIRE(run_until(loop, [&] { return files.failures() >= times; }));
  }
};

}  // namespace

TEST_CASE("coordinator: a stored update that cannot be read is received anew") {
  Frail fleet;
  const auto task = Pair::task_of(fleet.a, 1);
  const auto work = fleet.work(fleet.a, task, 7);
  fleet.until_swept();
  fleet.files.fail(FailingFiles::read, "updates/objects/", EIO);  // what arrives, in staging/, can be verified
  fleet.a.send("result", wire::encode(work.offer));
  const auto grant = fleet.a.await<wire::Grant>("grant");
  for (const auto& [first, last] : grant.chunks) {
    for (std::uint32_t n = first; n <= last; ++n) {
      fleet.a.send_chunk(grant.blob, n, work.blob.substr(std::size_t{n} * blob::chunk_size, blob::chunk_size));
    }
  }
  fleet.until_failed(1);
  CHECK(run_until(fleet.loop, [&] { return fleet.shows_trouble(); }));
  // The bad sectors go with the file.
  CHECK(run_until(fleet.loop, [&] { return !fs::exists(fleet.stored(work)); }));
  fleet.files.work();
  CHECK_FALSE(fleet.a.has("receipt"));
  fleet.a.send("result", wire::encode(work.offer));
  const auto again = fleet.a.await<wire::Grant>("grant");
  CHECK(again.blob == grant.blob);
  for (const auto& [first, last] : again.chunks) {
    for (std::uint32_t n = first; n <= last; ++n) {
      fleet.a.send_chunk(again.blob, n, work.blob.substr(std::size_t{n} * blob::chunk_size, blob::chunk_size));
    }
  }
  CHECK(fleet.a.await<wire::Receipt>("receipt").status == wire::ReceiptStatus::accepted);
  fleet.until_well();
  const auto other = Pair::task_of(fleet.b, 1);
  CHECK(Pair::deliver(fleet.b, fleet.work(fleet.b, other, 8)) == wire::ReceiptStatus::accepted);
  CHECK(Pair::task_of(fleet.b, 2).ref.round == 2);
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE(
    "coordinator: model chunks that cannot be read keep no other blob back, and the condition stays until they can") {
  Frail fleet;
  const auto first_a = Pair::task_of(fleet.a, 1);
  const auto first_b = Pair::task_of(fleet.b, 1);
  REQUIRE(Pair::deliver(fleet.a, fleet.work(fleet.a, first_a, 7)) == wire::ReceiptStatus::accepted);
  const auto last = fleet.work(fleet.b, first_b, 8);
  const Onlooker onlooker(fleet.coordinator, {"blobs/#", "status"});
  fleet.files.fail(FailingFiles::read, "downloads/objects/", EIO);
  REQUIRE(Pair::deliver(fleet.b, last) == wire::ReceiptStatus::accepted);
  const auto second = Pair::task_of(fleet.b, 2);
  const wire::BlobRef delta = *second.base_blob;
  fleet.until_failed(1);
  fleet.files.fail(FailingFiles::read, delta.sha256.hex(), EIO);
  fleet.b.send("ack", wire::encode(wire::Ack{second.ref, wire::AckStatus::need_full, ""}));
  wire::Task whole = Pair::task_of(fleet.b, 2);
  while (!whole.base_blob_base.empty()) {
    whole = Pair::task_of(fleet.b, 2);
  }
  CHECK(run_until(fleet.loop, [&] {
    return onlooker.chunks(whole.base_blob->sha256.hex()) == blob::chunk_count(whole.base_blob->size);
  }));
  CHECK(onlooker.chunks(delta.sha256.hex()) == 0);
  CHECK(run_until(fleet.loop, [&] { return fleet.shows_trouble(); }));

  // Two more attempts, of all its chunks, and nobody is told that all is well meanwhile.
  const std::size_t before = onlooker.heard().size();
  fleet.until_failed(fleet.files.failures() + std::uint64_t{2} * blob::chunk_count(delta.size));
  CHECK(fleet.shows_trouble());
  for (std::size_t n = before; n < onlooker.heard().size(); ++n) {
    const mqtt::Message& message = onlooker.heard()[n];
    if (message.topic.ends_with("/status")) {
      CHECK_FALSE(wire::decode<wire::CoordinatorStatus>(message.payload)->health.empty());
    }
  }
  fleet.files.work();
  CHECK(run_until(fleet.loop, [&] { return onlooker.chunks(delta.sha256.hex()) == blob::chunk_count(delta.size); }));
  fleet.until_well();
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: open tasks are not sent again because the storage was in trouble that held none of them back") {
  Frail fleet;
  const auto task_a = Pair::task_of(fleet.a, 1);
  const auto work = fleet.work(fleet.a, task_a, 7);
  const auto task_b = Pair::task_of(fleet.b, 1);
  Frail::settle(fleet.b);
  REQUIRE_FALSE(fleet.b.has("task"));
  fleet.files.fail(FailingFiles::write, "updates/staging/", ENOSPC);
  fleet.a.send("result", wire::encode(work.offer));
  const auto grant = fleet.a.await<wire::Grant>("grant");
  fleet.a.send_chunk(grant.blob, 0, work.blob.substr(0, blob::chunk_size));
  fleet.until_failed(1);
  CHECK(run_until(fleet.loop, [&] { return fleet.shows_trouble(); }));
  fleet.files.work();
  fleet.until_well();  // the storage was tried
  Frail::settle(fleet.b);
  CHECK_FALSE(fleet.b.has("task"));
  CHECK(Pair::deliver(fleet.a, work) == wire::ReceiptStatus::accepted);
  CHECK(Pair::deliver(fleet.b, fleet.work(fleet.b, task_b, 8)) == wire::ReceiptStatus::accepted);
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: a round that cannot be taken up again ends its run, and the coordinator serves on") {
  Frail fleet;
  const auto task_a = Pair::task_of(fleet.a, 1);
  const auto task_b = Pair::task_of(fleet.b, 1);
  REQUIRE(Pair::deliver(fleet.a, fleet.work(fleet.a, task_a, 7)) == wire::ReceiptStatus::accepted);
  const auto last = fleet.work(fleet.b, task_b, 8);
  fleet.files.fail(FailingFiles::write, "/models/", ENOSPC);  // the mean cannot be stored
  REQUIRE(Pair::deliver(fleet.b, last) == wire::ReceiptStatus::accepted);
  fleet.until_failed(1);
  CHECK(run_until(fleet.loop, [&] { return fleet.shows_trouble(); }));
  change_records(fleet.coordinator.state(), "UPDATE contributions SET blob = 'damaged'");
  fleet.files.work();
  CHECK(run_until(fleet.loop, [&] { return fleet.run_state() == "failed"; }));
  const auto run = fleet.coordinator.json("GET", "/v1/runs/run-1");
  CHECK(std::string(run.at("reason").as_string()).find("not readable") != std::string::npos);
  fleet.until_well();
  CHECK(fleet.coordinator.api("GET", "/readyz").status == 200);
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: a stored update that is damaged ends its run with that reason, and the next run goes on") {
  Frail fleet;
  const auto task = Pair::task_of(fleet.a, 1);
  const auto work = fleet.work(fleet.a, task, 7);
  REQUIRE(Pair::deliver(fleet.a, work) == wire::ReceiptStatus::accepted);
  fleet.a.drop();
  fleet.b.drop();
  fleet.coordinator.kill();
  flip_a_bit(fleet.stored(work));
  fleet.coordinator.start();
  CHECK(run_until(fleet.loop, [&] { return fleet.run_state() == "failed"; }));
  const auto run = fleet.coordinator.json("GET", "/v1/runs/run-1");
  CHECK(std::string(run.at("reason").as_string()).find("the stored update of a") != std::string::npos);
  connect_all({&fleet.a, &fleet.b});
  fleet.coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","rounds":1,"min_fit":1})");
  auto next = fleet.a.await<wire::Task>("task");
  while (next.ref.run.str() == "run-1") {  // repeated for its hello
    next = fleet.a.await<wire::Task>("task");
  }
  CHECK(next.kind == wire::TaskKind::init);
  CHECK(fleet.coordinator.stop() == 0);
}
