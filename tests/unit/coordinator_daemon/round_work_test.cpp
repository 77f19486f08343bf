#include <doctest/doctest.h>

#include "round_work.hpp"

using namespace flops;
using namespace flops::coordinator;

namespace {

registry::ContributionRow contribution(std::uint32_t weight, std::uint64_t steps, double loss) {
  registry::ContributionRow row;
  row.weight = weight;
  row.steps = steps;
  row.train_loss = loss;
  return row;
}

}  // namespace

TEST_CASE("round work: samples are summed, the rest is a mean weighted by them") {
  CHECK(work_of_round({}) == RoundWork{});
  CHECK(work_of_round({contribution(10, 4, 0.5)}) == RoundWork{10, 4, 0.5});
  CHECK(work_of_round({contribution(30, 4, 1), contribution(10, 10, 2)}) == RoundWork{40, 6, 1.25});  // 5.5, rounded up
}

TEST_CASE("round work: with one that says no steps, the mean is unknown") {
  CHECK(work_of_round({contribution(30, 4, 1), contribution(10, 0, 1)}) == RoundWork{40, 0, 1});
}
