// FedProx: devices add mu/2 |x - base|^2 to their loss, which keeps them near the model they started from; the server
// averages as FedAvg does.
//
// Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020.
#include "catalogue.hpp"
#include "towards.hpp"

namespace flops::algorithms {
namespace {

class FedProx final : public Algorithm {
 public:
  explicit FedProx(const Spec& spec) : rate_(spec.server_learning_rate), proximal_(spec.proximal) {}

  [[nodiscard]] ClientSide client() const override { return {.proximal = proximal_}; }
  [[nodiscard]] bool is_plain_mean() const override { return rate_ == 1.0; }
  void step(const Block& block, const RoundFacts& /*facts*/) const override {
    step_towards(block.base, block.mean, rate_, block.next);
  }

 private:
  double rate_;
  double proximal_;
};

}  // namespace

std::unique_ptr<Algorithm> make_fedprox(const Spec& spec) {
  return std::make_unique<FedProx>(spec);
}

}  // namespace flops::algorithms
