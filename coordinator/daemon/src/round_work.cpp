#include "round_work.hpp"

namespace flops::coordinator {

RoundWork work_of_round(const std::vector<registry::ContributionRow>& contributions) {
  RoundWork work;
  std::uint64_t sample_steps = 0;
  double sample_loss = 0;
  bool all_known = true;
  for (const registry::ContributionRow& one : contributions) {
    work.samples += one.weight;
    sample_steps += one.weight * one.steps;
    sample_loss += static_cast<double>(one.weight) * one.train_loss;
    all_known = all_known && one.steps > 0;
  }
  if (work.samples == 0) {
    return work;
  }
  work.steps = all_known ? (sample_steps + work.samples / 2) / work.samples : 0;
  work.train_loss = sample_loss / static_cast<double>(work.samples);
  return work;
}

}  // namespace flops::coordinator
