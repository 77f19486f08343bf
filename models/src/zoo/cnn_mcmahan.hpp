// The CNN of McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017:
// 1,663,370 parameters.
#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class CnnMcmahan final : public Net {
 public:
  CnnMcmahan()
      : conv1_(register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 32, 5).padding(2)))),
        conv2_(register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(32, 64, 5).padding(2)))),
        fc1_(register_module("fc1", torch::nn::Linear(64 * 7 * 7, 512))),
        fc2_(register_module("fc2", torch::nn::Linear(512, 10))) {}
  torch::Tensor forward(const torch::Tensor& images) override {
    const auto first = pool_relu(conv1_(images));
    const auto second = pool_relu(conv2_(first));
    return fc2_(fc1_(second.flatten(1)).relu_());
  }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::Conv2d conv2_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};

const Registered<CnnMcmahan> cnn_mcmahan_registered({"cnn-mcmahan",
                                                     "convolutions of 32 and 64 channels (5x5), 512 hidden"});

}  // namespace flops::models
