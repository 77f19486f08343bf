// A small convolutional network that a single-board computer trains in seconds.
#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class CnnSmall final : public Net {
 public:
  CnnSmall()
      : conv1_(register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1)))),
        conv2_(register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(16, 32, 3).padding(1)))),
        fc1_(register_module("fc1", torch::nn::Linear(32 * 7 * 7, 128))),
        fc2_(register_module("fc2", torch::nn::Linear(128, 10))) {}
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

const Registered<CnnSmall> cnn_small_registered({"cnn-small", "convolutions of 16 and 32 channels (3x3), 128 hidden"});

}  // namespace flops::models
