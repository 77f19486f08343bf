// Who is chosen for a round.
#include <algorithm>
#include <limits>

#include <doctest/doctest.h>

#include "flops/rounds/run_machine.hpp"

using namespace flops;
using namespace flops::rounds;

namespace {

using Losses = std::map<DeviceId, double>;

DeviceId device(int n) {
  return DeviceId::parse(fmt::format("device-{:02}", n)).value();
}

std::set<DeviceId> fleet(int count) {
  std::set<DeviceId> devices;
  for (int n = 0; n < count; ++n) {
    devices.insert(device(n));
  }
  return devices;
}

// The higher the number, the higher the loss.
Losses rising(int count) {
  Losses losses;
  for (int n = 0; n < count; ++n) {
    losses[device(n)] = 0.1 * n;
  }
  return losses;
}

}  // namespace

TEST_CASE("power-of-choice: of the candidates drawn, those with the highest loss") {
  const auto devices = fleet(30);
  for (std::int64_t round = 1; round <= 20; ++round) {
    const auto candidates = select(devices, 12, 7, round);
    const auto chosen = select_by_loss(devices, rising(30), 12, 5, 7, round);
    CHECK(chosen == std::set<DeviceId>(std::next(candidates.begin(), 7), candidates.end()));
  }
}

TEST_CASE("power-of-choice: when all are candidates the highest losses of all are chosen") {
  const auto devices = fleet(10);
  for (const std::size_t candidates : {10U, 1000U}) {
    CHECK(select_by_loss(devices, rising(10), candidates, 3, 1, 1) ==
          std::set<DeviceId>{device(7), device(8), device(9)});
  }
}

TEST_CASE("power-of-choice: with no more candidates than places it is the plain draw") {
  const auto devices = fleet(30);
  for (std::int64_t round = 1; round <= 10; ++round) {
    for (const std::size_t candidates : {0U, 4U, 6U}) {
      CHECK(select_by_loss(devices, rising(30), candidates, 6, 3, round) == select(devices, 6, 3, round));
    }
  }
}

TEST_CASE("power-of-choice: who has not reported a loss comes first, ties go by the draw") {
  const auto devices = fleet(10);
  Losses losses = rising(10);
  SUBCASE("none at all: the plain draw") {
    CHECK(select_by_loss(devices, {}, 10, 4, 1, 3) == select(devices, 4, 1, 3));
  }
  SUBCASE("all the same: the plain draw") {
    for (auto& [one, loss] : losses) {
      loss = 0.5;
    }
    CHECK(select_by_loss(devices, losses, 10, 4, 1, 3) == select(devices, 4, 1, 3));
  }
  SUBCASE("one without, one that is no number") {
    losses.erase(device(0));
    losses[device(1)] = std::numeric_limits<double>::quiet_NaN();
    CHECK(select_by_loss(devices, losses, 10, 3, 1, 3) == std::set<DeviceId>{device(0), device(1), device(9)});
  }
  SUBCASE("minus infinity comes last") {
    losses[device(9)] = -std::numeric_limits<double>::infinity();
    CHECK(select_by_loss(devices, losses, 10, 9, 1, 3).contains(device(9)) == false);
  }
}

TEST_CASE("power-of-choice: the same seed and round choose the same, another round others, nobody from nothing") {
  const auto devices = fleet(40);
  CHECK(select_by_loss(devices, rising(40), 10, 5, 1, 1) == select_by_loss(devices, rising(40), 10, 5, 1, 1));
  std::set<std::set<DeviceId>> different;
  for (std::int64_t round = 1; round <= 20; ++round) {
    different.insert(select_by_loss(devices, rising(40), 10, 5, 1, round));
  }
  CHECK(different.size() > 15);
  CHECK(select_by_loss({}, {}, 10, 5, 1, 1).empty());
  CHECK(select_by_loss(devices, {}, 10, 0, 1, 1).empty());
}

TEST_CASE("selection: a device's rank does not depend on who else is there") {
  const auto all = select(fleet(20), 8, 5, 2);
  auto fewer = fleet(20);
  const auto gone = std::ranges::find_if(fewer, [&](const DeviceId& one) { return !all.contains(one); });
  fewer.erase(gone);
  CHECK(select(fewer, 8, 5, 2) == all);
}
