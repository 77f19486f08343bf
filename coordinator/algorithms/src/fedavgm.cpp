// FedAvgM, momentum at the server: v = beta * v + (x - mean), x' = x - lr * v. State: v.
//
// Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019.
#include "catalogue.hpp"

namespace flops::algorithms {
namespace {

class FedAvgM final : public Algorithm {
 public:
  explicit FedAvgM(const Spec& spec) : rate_(spec.server_learning_rate), beta_(spec.momentum) {}

  [[nodiscard]] std::size_t state_vectors() const override { return 1; }
  void step(const Block& block, const RoundFacts& /*facts*/) const override {
    const std::span<float> velocities = block.state[0];
    for (std::size_t i = 0; i < block.next.size(); ++i) {
      const double base = block.base[i];
      const double velocity = beta_ * velocities[i] + (base - block.mean[i]);
      block.next[i] = static_cast<float>(base - rate_ * velocity);
      velocities[i] = static_cast<float>(velocity);
    }
  }

 private:
  double rate_;
  double beta_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedavgm(const Spec& spec) {
  return std::make_unique<FedAvgM>(spec);
}

}  // namespace flops::algorithms
