// What the three adaptive algorithms share (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2):
//
//   d = mean - x,  m = beta1 * m + (1 - beta1) * d,  v = Rule(v, d^2),  x' = x + lr * m / (sqrt(v) + tau)
//
// without correction of the bias, v starting as tau^2. State: m, and v - tau^2, so that a new run's zeros are the
// paper's beginning, and a v that has become tiny is not taken for one.
#pragma once

#include <algorithm>
#include <cmath>

#include "flops/algorithms/algorithm.hpp"

namespace flops::algorithms {

// Rule: double operator()(double v, double squared) const, the new v.
template <class Rule>
class Adaptive final : public Algorithm {
 public:
  Adaptive(const Spec& spec, Rule rule)
      : rate_(spec.server_learning_rate), beta1_(spec.momentum), tau_(spec.adaptivity), rule_(rule) {}

  [[nodiscard]] std::size_t state_vectors() const override { return 2; }
  void step(const Block& block, const RoundFacts& /*facts*/) const override {
    const double start = tau_ * tau_;
    for (std::size_t i = 0; i < block.next.size(); ++i) {
      const double base = block.base[i];
      const double change = block.mean[i] - base;
      const double first = beta1_ * block.state[0][i] + (1.0 - beta1_) * change;
      // Never below zero but for the rounding of what is stored.
      const double before = std::max(block.state[1][i] + start, 0.0);
      const double second = rule_(before, change * change);
      block.next[i] = static_cast<float>(base + rate_ * first / (std::sqrt(second) + tau_));
      block.state[0][i] = static_cast<float>(first);
      block.state[1][i] = static_cast<float>(second - start);
    }
  }

 private:
  double rate_, beta1_, tau_;
  Rule rule_;
};

}  // namespace flops::algorithms
