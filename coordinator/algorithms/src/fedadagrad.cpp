// FedAdagrad: v = v + d^2, else as in adaptive.hpp. The paper's experiments have no momentum here, which is the
// default.
#include "adaptive.hpp"
#include "catalogue.hpp"

namespace flops::algorithms {
namespace {

struct Adagrad {
  double operator()(double v, double squared) const { return v + squared; }
};

}  // namespace

std::unique_ptr<Algorithm> make_fedadagrad(const Spec& spec) {
  return std::make_unique<Adaptive<Adagrad>>(spec, Adagrad{});
}

}  // namespace flops::algorithms
