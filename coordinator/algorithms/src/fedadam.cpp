// FedAdam: v = beta2 * v + (1 - beta2) * d^2, else as in adaptive.hpp.
#include "adaptive.hpp"
#include "catalogue.hpp"

namespace flops::algorithms {
namespace {

struct Adam {
  double beta2;
  double operator()(double v, double squared) const { return beta2 * v + (1.0 - beta2) * squared; }
};

}  // namespace

std::unique_ptr<Algorithm> make_fedadam(const Spec& spec) {
  return std::make_unique<Adaptive<Adam>>(spec, Adam{spec.second_momentum});
}

}  // namespace flops::algorithms
