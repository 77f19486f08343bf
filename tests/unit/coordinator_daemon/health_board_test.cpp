#include "health_board.hpp"

#include <doctest/doctest.h>

using namespace flops;
using namespace flops::coordinator;

TEST_CASE("health board: only what is news is told") {
  const FakeClock clock;
  int told = 0;
  HealthBoard board(clock, [&] { ++told; });
  board.clear("storage");
  CHECK(told == 0);
  board.raise("storage", "full");
  board.raise("storage", "still full");
  CHECK(told == 1);
  CHECK(board.shown() == std::vector{wire::Condition{"storage", "still full"}});
  board.clear("storage");
  CHECK(told == 2);
  CHECK(board.shown().empty());
}
