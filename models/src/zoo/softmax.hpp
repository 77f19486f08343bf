// Softmax (multinomial logistic) regression: the smallest model, convex, for slow devices and for tests.
#pragma once

#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class Softmax final : public Net {
 public:
  Softmax() : fc_(register_module("fc", torch::nn::Linear(784, 10))) {}
  torch::Tensor forward(const torch::Tensor& images) override { return fc_(images.flatten(1)); }

 private:
  torch::nn::Linear fc_;
};

const Registered<Softmax> softmax_registered({"softmax", "softmax regression, 784-10"});

}  // namespace flops::models
