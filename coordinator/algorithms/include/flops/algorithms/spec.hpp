// Which algorithm, and its constants: what a level of a run is configured with.
//
// The names, defaults and ranges of the keys, and which algorithm uses which, are the table in docs/algorithms.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::algorithms {

struct Spec {
  std::string name = "fedavg";
  double server_learning_rate = 1.0;  // of the step from the base model towards the mean
  double momentum = 0.9;              // beta of fedavgm, beta1 of fedadam, fedyogi, fedadagrad
  double second_momentum = 0.99;      // beta2 of fedadam, fedyogi
  double adaptivity = 1e-3;           // tau of fedadam, fedyogi, fedadagrad: the smaller, the more adaptive
  double proximal = 0.0;              // mu of fedprox

  bool operator==(const Spec&) const = default;
};

// The constants an algorithm has when none are given: those of Spec, but for the adaptive ones, which would leap with a
// learning rate of 1. An unknown name gives Spec's with that name, which check() refuses.
[[nodiscard]] Spec defaults(std::string_view name);

// permanent: everything that is wrong, one problem a line: an unknown name; values that are not finite or out of range;
// keys that the algorithm does not use, if they differ from defaults(name). Pure.
[[nodiscard]] Result<> check(const Spec& spec);

struct Info {
  std::string_view name, summary, paper;
};
// All algorithms, for help and error texts.
[[nodiscard]] std::span<const Info> all();

}  // namespace flops::algorithms
