// SCAFFOLD: control variates say in which direction each device drifts, and are taken off its gradients.
//
// Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
// ICML 2020, with option II at the device. [x, c] travels down. A device makes K local steps
// y = y - eta * (g(y) - c_i + c), sets c_i+ = c_i - c + (x - y) / (K * eta), and sends [y, c + (c_i+ - c_i)]. With the
// means over the participants S of the N devices:
//
//   x' = x + lr * (mean_x - x),  c' = c + |S| / N * (mean_c - c)
//
// Everybody weighs 1, as in the paper: only then does c stay the mean of all c_i, whoever takes part, and the
// corrections cancel.
#include "catalogue.hpp"
#include "flops/tensor/control_variates.hpp"
#include "towards.hpp"

namespace flops::algorithms {
namespace {

class Scaffold final : public Algorithm {
 public:
  explicit Scaffold(const Spec& spec) : rate_(spec.server_learning_rate) {}

  [[nodiscard]] std::uint64_t weight(const Contribution& /*work*/) const override { return 1; }
  [[nodiscard]] ClientSide client() const override { return {.control_variates = true}; }

  [[nodiscard]] Result<tensor::Layout> layout(const tensor::Layout& model) const override {
    return tensor::with_variates(model);
  }
  [[nodiscard]] std::uint64_t model_parameters(const tensor::Layout& travelling) const override {
    return travelling.parameters() / 2;
  }

  void step(const Block& block, const RoundFacts& facts) const override {
    const std::uint64_t left = facts.parameters - std::min(facts.parameters, block.offset);
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left, block.next.size()));
    step_towards(block.base.first(n), block.mean.first(n), rate_, block.next.first(n));
    const auto took_part = static_cast<double>(facts.totals.participants);
    const auto all = static_cast<double>(std::max(facts.population, facts.totals.participants));
    step_towards(block.base.subspan(n), block.mean.subspan(n), all > 0 ? took_part / all : 0.0, block.next.subspan(n));
  }

 private:
  double rate_;
};

}  // namespace

std::unique_ptr<Algorithm> make_scaffold(const Spec& spec) {
  return std::make_unique<Scaffold>(spec);
}

}  // namespace flops::algorithms
