// A convolutional network with batch normalisation and dropout. The running statistics of the normalisation are
// averaged over the devices like parameters.
#pragma once

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "../net.hpp"

namespace flops::models {

class CnnNorm final : public Net {
 public:
  CnnNorm()
      : conv1_(register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1).bias(false)))),
        norm1_(register_module("norm1", torch::nn::BatchNorm2d(16))),
        conv2_(register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(16, 32, 3).padding(1).bias(false)))),
        norm2_(register_module("norm2", torch::nn::BatchNorm2d(32))),
        fc_(register_module("fc", torch::nn::Linear(32 * 7 * 7, 10))) {}
  torch::Tensor forward(const torch::Tensor& images) override {
    const auto first = pool_relu(norm1_(conv1_(images)));
    const auto second = pool_relu(norm2_(conv2_(first)));
    return fc_(dropout(second.flatten(1), 0.25));
  }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d norm1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d norm2_;
  torch::nn::Linear fc_;
};

const Registered<CnnNorm> cnn_norm_registered(
    {"cnn-norm", "convolutions of 16 and 32 channels (3x3) with batch normalisation, dropout 0.25"});

}  // namespace flops::models
