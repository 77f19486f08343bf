// A federated algorithm: what it weighs an update with, what its devices do differently, and how the exact mean of a
// round becomes the next model.
//
// The sum gives the weighted mean of the participants' *parameters*; base - mean is the pseudo-gradient of Reddi et
// al., "Adaptive Federated Optimization", ICLR 2021. Steps are elementwise, computed in double in the order written,
// and rounded once to float32 for the model and for each vector of state: the bytes do not depend on the processor nor
// on how the vector is cut into blocks.
//
// Algorithms have no state of their own: any thread may use one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "flops/algorithms/spec.hpp"
#include "flops/algorithms/totals.hpp"
#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"

namespace flops::algorithms {

inline constexpr std::size_t max_state_vectors = 2;

// What devices do differently while they train.
struct ClientSide {
  double proximal = 0.0;          // mu: adds mu/2 |x - base|^2 to the loss
  bool control_variates = false;  // SCAFFOLD: [x, c] travels, and the device keeps its own c_i

  bool operator==(const ClientSide&) const = default;
};

// A part of the flat vector; all spans have one length. `next` is written. The first state_vectors() spans of `state`
// hold the last round's values on entry, zeros in the first round, and are overwritten.
struct Block {
  std::uint64_t offset = 0;  // elements, in what travels
  std::span<const float> base, mean;
  std::span<float> next;
  std::array<std::span<float>, max_state_vectors> state;
};

struct RoundFacts {
  Totals totals;
  std::uint64_t population = 0;  // participants the run knows, taking part or not; fewer than took part: as many
  std::uint64_t parameters = 0;  // of what travels, those of the model itself: Algorithm::model_parameters
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  // What a contribution weighs in the exact sum, before any discount for lateness. 0: it says too little to be weighed,
  // and is to be refused.
  [[nodiscard]] virtual std::uint64_t weight(const Contribution& work) const { return work.samples; }
  // Vectors as long as what travels that the server keeps from round to round.
  [[nodiscard]] virtual std::size_t state_vectors() const { return 0; }
  [[nodiscard]] virtual ClientSide client() const { return {}; }
  // True: the next model is the mean, bit for bit, and step() need not be called.
  [[nodiscard]] virtual bool is_plain_mean() const { return false; }

  // What travels, down and up. permanent: it would pass the limits of a layout.
  [[nodiscard]] virtual Result<tensor::Layout> layout(const tensor::Layout& model) const { return model; }
  // Elements of the model itself in what travels; they come first.
  [[nodiscard]] virtual std::uint64_t model_parameters(const tensor::Layout& travelling) const {
    return travelling.parameters();
  }

  virtual void step(const Block& block, const RoundFacts& facts) const = 0;
};

// permanent: what check() says.
[[nodiscard]] Result<std::unique_ptr<Algorithm>> make(const Spec& spec);

// True for what a layer measures and no gradient moves (PyTorch's running_mean, running_var): whatever the algorithm,
// the mean is taken as it is and the state stays zero. A step past the mean could make a variance negative.
[[nodiscard]] bool is_statistic(std::string_view tensor);

}  // namespace flops::algorithms
