// Model chunks on the broker that an earlier process of the coordinator has published.
#include <doctest/doctest.h>

#include "flops/core/file.hpp"
#include "onlooker.hpp"
#include "pair.hpp"

using namespace flops;
using namespace flops::test;

namespace {

namespace fs = std::filesystem;

// What a new subscriber finds; the status behind it says that it has been given everything.
std::size_t chunks_found(CoordinatorProcess& coordinator) {
  Onlooker fresh(coordinator, {"blobs/#", "status"});
  REQUIRE(run_until(coordinator.loop(), [&] { return fresh.retained().contains("flops/v1/test/status"); }));
  return fresh.chunks();
}

std::size_t leftovers(const CoordinatorProcess& coordinator) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(coordinator.state() / "downloads" / "leftovers"), {}));
}

bool all_published(Pair& fleet, const wire::Task& task) {
  const Onlooker onlooker(fleet.coordinator, {"blobs/#"});
  return run_until(fleet.loop, [&] {
    return onlooker.chunks(task.base_blob->sha256.hex()) == blob::chunk_count(task.base_blob->size);
  });
}

// SIGTERM, so that the broker has written down what it retains.
void restart(Pair& fleet) {
  fleet.a.drop();
  fleet.b.drop();
  REQUIRE(fleet.coordinator.stop() == 0);
  fleet.coordinator.start();
}

}  // namespace

TEST_CASE("coordinator: what it had published before its restarts is off the broker when the run is over") {
  Pair fleet;
  fleet.play_round(1);
  const auto before = Pair::task_of(fleet.a, 2);
  REQUIRE_FALSE(before.base_blob_base.empty());  // a delta; after a restart the model is sent whole
  REQUIRE(all_published(fleet, before));
  restart(fleet);
  CHECK(leftovers(fleet.coordinator) > 0);
  restart(fleet);  // once more, before anything could be cleared
  CHECK(chunks_found(fleet.coordinator) >= blob::chunk_count(before.base_blob->size));
  connect_all({&fleet.a, &fleet.b});
  const auto after = Pair::task_of(fleet.a, 2);
  CHECK(after.base == before.base);
  CHECK(after.base_blob->sha256 != before.base_blob->sha256);
  REQUIRE(Pair::deliver(fleet.a, fleet.work(fleet.a, after, 7)) == wire::ReceiptStatus::accepted);
  const auto other = Pair::task_of(fleet.b, 2);
  REQUIRE(Pair::deliver(fleet.b, fleet.work(fleet.b, other, 8)) == wire::ReceiptStatus::accepted);
  CHECK(run_until(fleet.loop, [&] { return fleet.run_state() == "finished"; }));
  CHECK(run_until(fleet.loop, [&] { return leftovers(fleet.coordinator) == 0; }));
  CHECK(chunks_found(fleet.coordinator) == 0);
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: a model that it encodes to the same bytes after a restart stays on the broker") {
  Pair fleet;
  const auto before = Pair::task_of(fleet.a, 1);
  REQUIRE(all_published(fleet, before));
  restart(fleet);
  connect_all({&fleet.a, &fleet.b});
  const auto after = Pair::task_of(fleet.a, 1);
  REQUIRE(after.base_blob == before.base_blob);
  const Onlooker onlooker(fleet.coordinator, {"blobs/#"});
  const std::string blob = after.base_blob->sha256.hex();
  CHECK(run_until(fleet.loop, [&] { return onlooker.chunks(blob) == blob::chunk_count(after.base_blob->size); }));
  CHECK(run_until(fleet.loop, [&] { return leftovers(fleet.coordinator) == 0; }));  // it is held again
  REQUIRE(Pair::deliver(fleet.a, fleet.work(fleet.a, after, 7)) == wire::ReceiptStatus::accepted);
  const auto other = Pair::task_of(fleet.b, 1);
  REQUIRE(Pair::deliver(fleet.b, fleet.work(fleet.b, other, 8)) == wire::ReceiptStatus::accepted);
  fleet.play_round(2);
  CHECK(run_until(fleet.loop, [&] { return onlooker.chunks() == 0; }));
  CHECK(fleet.coordinator.stop() == 0);
}

TEST_CASE("coordinator: when no run is left, what it had published is cleared at its start") {
  Pair fleet;
  REQUIRE(all_published(fleet, Pair::task_of(fleet.a, 1)));
  fleet.a.drop();
  fleet.b.drop();
  REQUIRE(fleet.coordinator.stop() == 0);
  change_records(fleet.coordinator.state(), "UPDATE runs SET phase = 'stopped'");
  fleet.coordinator.start();
  CHECK(run_until(fleet.loop, [&] { return leftovers(fleet.coordinator) == 0; }));
  CHECK(chunks_found(fleet.coordinator) == 0);
  CHECK(fleet.coordinator.stop() == 0);
}
