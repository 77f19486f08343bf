// What travels with SCAFFOLD's control variates: the model [x] becomes [x, c], its tensors followed by a variate for
// each, named "scaffold.c/<tensor>" and of the tensor's shape. Server, device and simulator agree on it here.
//
// Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
// ICML 2020. Pure functions; any thread.
#pragma once

#include <span>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"

namespace flops::tensor {

inline constexpr std::string_view variate_prefix = "scaffold.c/";

// permanent: past the limits of a layout; a model may have half as many tensors and parameters.
[[nodiscard]] Result<Layout> with_variates(const Layout& model);

// The model's part of what with_variates() made: the first half of the parameters. permanent: it is nothing such, with
// the first tensor that is not as it must be.
[[nodiscard]] Result<Layout> without_variates(const Layout& travelling);

// What a device sends in c's place, c + (c_i+ - c_i): c is the `server`'s variate, c_i the device's own `before` its
// training and c_i+ the one `after` it. Computed in double and rounded once. All have one length.
void variate_to_return(std::span<const float> server, std::span<const float> before, std::span<const float> after,
                       std::span<float> into);

}  // namespace flops::tensor
