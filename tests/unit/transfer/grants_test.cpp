#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>

#include "flops/transfer/grants.hpp"

using namespace flops;
using flops::transfer::Grants;

namespace {

TaskId task(int n) {
  return TaskId::parse("t" + std::to_string(n)).value();
}

using Arrival = Grants::Arrival;

}  // namespace

TEST_CASE("grants: one upload gets its window, and more when half has arrived") {
  Grants grants(100, 4);
  grants.add(task(1), 10);
  auto next = grants.next();
  REQUIRE(next.size() == 1);
  CHECK(next[0].second == blob::ChunkRanges{{0, 3}});
  CHECK(grants.next().empty());
  CHECK(grants.arrived(task(1), 1) == Arrival::fresh);
  CHECK(grants.next().empty());
  CHECK(grants.arrived(task(1), 3) == Arrival::fresh);
  next = grants.next();
  REQUIRE(next.size() == 1);
  CHECK(next[0].second == blob::ChunkRanges{{4, 5}});
}

TEST_CASE("grants: repeated, ungranted and unknown chunks are told apart") {
  Grants grants(100, 2);
  grants.add(task(1), 5);
  (void)grants.next();
  CHECK(grants.arrived(task(1), 0) == Arrival::fresh);
  CHECK(grants.arrived(task(1), 0) == Arrival::duplicate);
  CHECK(grants.arrived(task(1), 4) == Arrival::not_granted);
  CHECK(grants.arrived(task(1), 5) == Arrival::not_granted);
  CHECK(grants.arrived(task(2), 0) == Arrival::not_granted);
}

TEST_CASE("grants: the fleet's window bounds everybody, and a vanished device gives its share back") {
  Grants grants(6, 4);
  for (int i = 1; i <= 3; ++i) {
    grants.add(task(i), 10);
  }
  CHECK(grants.next().size() == 2);  // 4 + 2
  CHECK(grants.in_flight() == 6);
  grants.pause(task(1));
  CHECK(grants.in_flight() == 2);
  const auto next = grants.next();
  REQUIRE_FALSE(next.empty());
  for (const auto& [id, ranges] : next) {
    CHECK(id != task(1));
  }
  CHECK(grants.in_flight() == 6);
  grants.remove(task(2));
  grants.remove(task(3));
  CHECK(grants.in_flight() == 0);
  CHECK(grants.next().empty());  // paused until it comes back
  grants.resume(task(1));
  CHECK(grants.next().at(0).second == blob::ChunkRanges{{0, 3}});
}

TEST_CASE("grants: with any order, loss and repetition every upload completes within the window") {
  std::mt19937 random(11);
  for (int trial = 0; trial < 50; ++trial) {
    const auto draw = [&](std::uint32_t below) { return static_cast<std::uint32_t>(random() % below); };
    const std::uint32_t window = 1 + draw(12);
    Grants grants(window, 1 + draw(6));
    std::map<int, std::uint32_t> left;
    std::vector<std::pair<int, std::uint32_t>> on_the_way;
    for (int i = 0; i < 8; ++i) {
      left[i] = 1 + draw(20);
      grants.add(task(i), left[i]);
    }
    int steps = 0;
    while (!left.empty()) {
      REQUIRE(++steps < 100'000);
      for (const auto& [id, ranges] : grants.next()) {
        for (const auto& [first, last] : ranges) {
          for (std::uint32_t n = first; n <= last; ++n) {
            on_the_way.emplace_back(std::stoi(id.str().substr(1)), n);
          }
        }
      }
      REQUIRE(grants.in_flight() <= window);
      if (on_the_way.empty()) {
        continue;
      }
      const std::size_t pick = random() % on_the_way.size();
      const auto [who, n] = on_the_way[pick];
      on_the_way.erase(on_the_way.begin() + static_cast<std::ptrdiff_t>(pick));
      if (random() % 10 == 0) {  // lost: the device vanishes, and comes back
        grants.pause(task(who));
        std::erase_if(on_the_way, [who = who](const auto& entry) { return entry.first == who; });
        grants.resume(task(who));
        continue;
      }
      if (grants.arrived(task(who), n) == Arrival::fresh && --left[who] == 0) {
        left.erase(who);
        grants.remove(task(who));
      }
    }
    CHECK(grants.in_flight() == 0);
  }
}
