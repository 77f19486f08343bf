// FedNova: a device that makes more local steps than others does not pull the model further its way.
//
// Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
// Optimization", NeurIPS 2020. With n_i samples, t_i local steps and n = sum n_i:
//
//   x' = x + lr * t_eff * sum (n_i / n) (x_i - x) / t_i,   t_eff = sum n_i t_i / n
//
// The weights n_i / t_i, in whole 1/4096, make the exact sum's mean M = sum (n_i / t_i) x_i / sum (n_i / t_i), and so
//
//   x' = x + lr * t_eff * (sum (n_i / t_i) / n) * (M - x).
//
// With equal steps for everybody this is FedAvg: bit for bit when every 4096 * n_i / t_i is whole, else up to the
// rounding of the weights. A discount for lateness changes the mean alone, not the length of the step.
#include "catalogue.hpp"
#include "towards.hpp"

namespace flops::algorithms {
namespace {

// t_eff * sum (n_i / t_i) / n, from integers; one rounding for each of the two products, one for their quotient.
double normalisation(const Totals& totals) {
  __extension__ using Wide = unsigned __int128;
  if (totals.samples == 0) {
    return 0.0;
  }
  const Wide above = Wide{totals.sample_steps} * totals.samples_per_step;
  const Wide below = Wide{totals.samples} * totals.samples * rate_unit;
  return static_cast<double>(above) / static_cast<double>(below);
}

class FedNova final : public Algorithm {
 public:
  explicit FedNova(const Spec& spec) : rate_(spec.server_learning_rate) {}

  [[nodiscard]] std::uint64_t weight(const Contribution& work) const override { return samples_per_step(work); }
  void step(const Block& block, const RoundFacts& facts) const override {
    step_towards(block.base, block.mean, rate_ * normalisation(facts.totals), block.next);
  }

 private:
  double rate_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fednova(const Spec& spec) {
  return std::make_unique<FedNova>(spec);
}

}  // namespace flops::algorithms
