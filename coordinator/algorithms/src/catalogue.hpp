// Makers of the algorithms, one a file. The constants are checked already.
#pragma once

#include <memory>

#include "flops/algorithms/algorithm.hpp"

namespace flops::algorithms {

[[nodiscard]] std::unique_ptr<Algorithm> make_fedavg(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fedavgm(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fedprox(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fedadam(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fedyogi(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fedadagrad(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_scaffold(const Spec& spec);
[[nodiscard]] std::unique_ptr<Algorithm> make_fednova(const Spec& spec);

}  // namespace flops::algorithms
