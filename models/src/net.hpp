// What a model of the zoo is, and how it is registered.
#pragma once

#include <memory>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/module.h>

#include "flops/models/model.hpp"

namespace flops::models {

class Net : public torch::nn::Module {
 public:
  // [n, 1, rows, columns] (images: values 0 to 1) -> [n, classes], before any softmax.
  virtual torch::Tensor forward(const torch::Tensor& images) = 0;

  // Where training draws from. A model has its own, and not LibTorch's one for the whole process: what other models do
  // at the same time must not matter. In main memory, whatever the model's device.
  [[nodiscard]] at::Generator& random() { return random_; }

 protected:
  // While training, values are zero with this probability, and the others larger for that.
  [[nodiscard]] torch::Tensor dropout(const torch::Tensor& values, double probability) {
    if (!is_training()) {
      return values;
    }
    const double kept = 1 - probability;
    const torch::Tensor mask = torch::empty_like(values, values.options().device(torch::kCPU));
    return values * mask.bernoulli_(kept, random_).div_(kept).to(values.device());
  }

 private:
  at::Generator random_ = at::detail::createCPUGenerator();
};

// The 2x2 maximum of a convolution's output, then relu: they commute, and relu has a quarter of the values to do then.
// LibTorch's pooling is vectorised over the channels only.
inline torch::Tensor pool_relu(const torch::Tensor& values) {
  return torch::max_pool2d(values.contiguous(torch::MemoryFormat::ChannelsLast), 2).relu_();
}

struct ZooEntry {
  ModelInfo info;
  std::shared_ptr<Net> (*make)();
};
[[nodiscard]] const std::vector<ZooEntry>& zoo_entries();
void add_to_zoo(const ZooEntry& entry);

template <class Model>
struct Registered {
  explicit Registered(const ModelInfo& info) {
    add_to_zoo({info, []() -> std::shared_ptr<Net> { return std::make_shared<Model>(); }});
  }
};

}  // namespace flops::models
