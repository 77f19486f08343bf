#include <cmath>

#include <doctest/doctest.h>

#include "best_round.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::coordinator;

namespace {

registry::RoundRow measured(std::int64_t number, double accuracy, double loss) {
  registry::RoundRow round;
  round.round = number;
  round.state = "done";
  round.model = crypto::sha256(std::to_string(number));
  round.accuracy = accuracy;
  round.loss = loss;
  return round;
}

}  // namespace

TEST_CASE("best round: by the metric that was asked for, of equals the first") {
  const std::vector<registry::RoundRow> rounds = {measured(1, 0.5, 1.0), measured(2, 0.8, 0.4), measured(3, 0.8, 0.3),
                                                  measured(4, 0.7, 0.3)};
  CHECK(best_round(rounds, "accuracy")->round == 2);
  CHECK(best_round(rounds, "loss")->round == 3);
  CHECK(value_of(rounds[1], "accuracy") == 0.8);
  CHECK(value_of(rounds[1], "loss") == 0.4);
}

TEST_CASE("best round: what is not measured to its end, and what is a cluster's own, does not count") {
  std::vector<registry::RoundRow> rounds = {measured(1, 0.5, 1.0), measured(2, 0.9, 0.1), measured(3, 0.9, 0.1),
                                            measured(4, 0.9, 0.1)};
  rounds[1].state = "evaluating";
  rounds[2].cluster = rounds::ClusterId::parse("north").value();
  rounds[3].accuracy.reset();
  CHECK(best_round(rounds, "accuracy")->round == 1);
  rounds.push_back(measured(5, NAN, 0.1));
  CHECK(best_round(rounds, "accuracy")->round == 1);
  rounds.erase(rounds.begin());
  CHECK(best_round(rounds, "accuracy") == nullptr);
  CHECK(best_round({}, "loss") == nullptr);
}
