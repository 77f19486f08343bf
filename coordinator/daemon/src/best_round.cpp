#include "best_round.hpp"

#include <cmath>

namespace flops::coordinator {

namespace {

bool is_measured(const registry::RoundRow& round) {
  return round.cluster.empty() && round.state == "done" && !round.model.empty() &&
         std::isfinite(round.accuracy.value_or(NAN)) && std::isfinite(round.loss.value_or(NAN));
}

}  // namespace

double value_of(const registry::RoundRow& round, std::string_view metric) {
  return (metric == "loss" ? round.loss : round.accuracy).value_or(0);
}

const registry::RoundRow* best_round(const std::vector<registry::RoundRow>& rounds, std::string_view metric) {
  const registry::RoundRow* best = nullptr;
  for (const registry::RoundRow& round : rounds) {
    if (!is_measured(round)) {
      continue;
    }
    const double value = value_of(round, metric);
    if (best == nullptr || (metric == "loss" ? value < value_of(*best, metric) : value > value_of(*best, metric))) {
      best = &round;
    }
  }
  return best;
}

}  // namespace flops::coordinator
