#include "flops/rounds/goal.hpp"

#include <cmath>

#include <fmt/format.h>

namespace flops::rounds {

std::string reached(const Goal& goal, std::string_view metric, const std::vector<Measured>& history) {
  const bool by_loss = metric == "loss";
  const Measured* best = nullptr;
  std::int64_t since = 0;
  for (const Measured& now : history) {
    if (now.devices < goal.min_evaluate || !std::isfinite(now.accuracy) || !std::isfinite(now.loss)) {
      continue;
    }
    if (goal.accuracy > 0 && now.accuracy >= goal.accuracy) {
      return fmt::format("the model of round {} has accuracy {:.4f}, and {:.4f} was wanted", now.round, now.accuracy,
                         goal.accuracy);
    }
    if (goal.loss > 0 && now.loss <= goal.loss) {
      return fmt::format("the model of round {} has loss {:.4f}, and {:.4f} was wanted", now.round, now.loss,
                         goal.loss);
    }
    const bool better =
        best == nullptr || (by_loss ? best->loss - now.loss : now.accuracy - best->accuracy) > goal.min_change;
    if (better) {
      best = &now;
      since = 0;
    } else if (++since; goal.patience > 0 && since >= goal.patience) {
      return fmt::format("no model after that of round {} is better, and the patience was for {}", best->round,
                         goal.patience);
    }
  }
  return {};
}

}  // namespace flops::rounds
