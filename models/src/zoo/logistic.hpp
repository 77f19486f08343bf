// Logistic regression over 13 numbers, such as the heart disease data in FLamby's preparation (Ogier du Terrail et al.,
// NeurIPS 2022). The first output is zero, so that the cross entropy of both is the logistic loss of the second.
#pragma once

#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class Logistic13 final : public Net {
 public:
  Logistic13() : fc_(register_module("fc", torch::nn::Linear(13, 1))) {}
  torch::Tensor forward(const torch::Tensor& rows) override {
    const torch::Tensor logit = fc_(rows.flatten(1));
    return torch::cat({torch::zeros_like(logit), logit}, 1);
  }

 private:
  torch::nn::Linear fc_;
};

const Registered<Logistic13> logistic13_registered({"logistic-13", "logistic regression over 13 numbers", 1, 13, 2});

}  // namespace flops::models
