// Between main memory and the device of a tensor. On the CPU these are what they cost anyway: a look, and one copy.
#pragma once

#include <cstddef>
#include <cstring>

#include <torch/utils.h>

#include "flops/models/device.hpp"

namespace flops::models {

inline torch::Device torch_device(Device device) {
  return device == Device::cuda ? torch::Device(torch::kCUDA) : torch::Device(torch::kCPU);
}

// The same values, contiguous, where they can be read; on the CPU the tensor itself.
inline torch::Tensor in_main_memory(const torch::Tensor& values) {
  return values.detach().to(torch::kCPU).contiguous();
}

// A new tensor in main memory of this shape and type.
inline torch::Tensor host_like(const torch::Tensor& values) {
  return torch::empty(values.sizes(), values.options().device(torch::kCPU).requires_grad(false));
}

// Overwrites a tensor with what lies at `from`, values.nbytes() long; `from` need not be aligned.
inline void put(const torch::Tensor& values, const void* from) {
  const torch::NoGradGuard no_grad;
  if (values.is_cpu() && values.is_contiguous()) {
    std::memcpy(values.data_ptr(), from, values.nbytes());
    return;
  }
  const torch::Tensor host = host_like(values);
  std::memcpy(host.data_ptr(), from, host.nbytes());
  values.detach().copy_(host);
}

}  // namespace flops::models
