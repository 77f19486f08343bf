// The 2NN of McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017.
#pragma once

#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class TwoNn final : public Net {
 public:
  TwoNn()
      : fc1_(register_module("fc1", torch::nn::Linear(784, 200))),
        fc2_(register_module("fc2", torch::nn::Linear(200, 200))),
        fc3_(register_module("fc3", torch::nn::Linear(200, 10))) {}
  torch::Tensor forward(const torch::Tensor& images) override {
    return fc3_(torch::relu(fc2_(torch::relu(fc1_(images.flatten(1))))));
  }

 private:
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
  torch::nn::Linear fc3_;
};

const Registered<TwoNn> two_nn_registered({"2nn", "two hidden layers, 784-200-200-10"});

}  // namespace flops::models
