// FedYogi: v = v - (1 - beta2) * d^2 * sign(v - d^2), else as in adaptive.hpp. v moves by no more than d^2 allows,
// while Adam's forgets at the same pace whatever comes.
#include "adaptive.hpp"
#include "catalogue.hpp"

namespace flops::algorithms {
namespace {

struct Yogi {
  double beta2;
  double operator()(double v, double squared) const {
    const double step = (1.0 - beta2) * squared;
    if (v == squared) {
      return v;
    }
    return v > squared ? v - step : v + step;
  }
};

}  // namespace

std::unique_ptr<Algorithm> make_fedyogi(const Spec& spec) {
  return std::make_unique<Adaptive<Yogi>>(spec, Yogi{spec.second_momentum});
}

}  // namespace flops::algorithms
