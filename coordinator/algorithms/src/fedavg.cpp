// Federated averaging: x' = x + lr * (mean - x), the weights being the numbers of samples.
//
// McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
// Decentralized Data", AISTATS 2017. The learning rate is Reddi et al.'s; 1 is the paper's.
#include "catalogue.hpp"
#include "towards.hpp"

namespace flops::algorithms {
namespace {

class FedAvg final : public Algorithm {
 public:
  explicit FedAvg(const Spec& spec) : rate_(spec.server_learning_rate) {}

  [[nodiscard]] bool is_plain_mean() const override { return rate_ == 1.0; }
  void step(const Block& block, const RoundFacts& /*facts*/) const override {
    step_towards(block.base, block.mean, rate_, block.next);
  }

 private:
  double rate_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedavg(const Spec& spec) {
  return std::make_unique<FedAvg>(spec);
}

}  // namespace flops::algorithms
