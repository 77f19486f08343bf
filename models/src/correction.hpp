// What an algorithm adds to the gradients on the device: FedProx's pull towards the base model (Li et al., MLSys 2020)
// and SCAFFOLD's control variates (Karimireddy et al., ICML 2020, option II).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <torch/utils.h>

#include "flops/models/training.hpp"
#include "parts.hpp"

namespace flops::models {

class Correction {
 public:
  // The model holds the base. The variates must outlive this.
  Correction(Model::Parts& parts, const TrainingPlan& plan, const ControlVariates& variates)
      : parts_(parts), proximal_(plan.proximal), rate_(plan.learning_rate), variates_(variates) {
    if (proximal_ == 0 && variates_.empty()) {
      return;
    }
    const torch::NoGradGuard no_grad;
    const std::size_t trained = parts_.net->parameters().size();  // first in the layout; buffers follow
    for (std::size_t i = 0; i < trained; ++i) {
      base_.push_back(parts_.tensors[i].detach().clone());
      if (!variates_.empty()) {
        drift_.push_back(difference(variates_.server, variates_.own, i));
      }
    }
  }

  // After the gradients of a batch were computed.
  void apply() {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < base_.size(); ++i) {
      torch::Tensor gradient = parts_.tensors[i].grad();
      if (!gradient.defined()) {
        continue;
      }
      if (proximal_ != 0) {
        gradient.add_(parts_.tensors[i].detach() - base_[i], proximal_);
      }
      if (!drift_.empty()) {
        gradient.add_(drift_[i]);
      }
    }
  }

  // After the last of `steps` batches: the device's new variate, own - server + (base - now) / (steps * rate).
  void finish(std::uint64_t steps) {
    if (drift_.empty() || steps == 0) {
      return;
    }
    const double scale = 1.0 / (static_cast<double>(steps) * rate_);
    std::ranges::fill(variates_.own.subspan(trained_values()), 0.0F);
    for (std::size_t i = 0; i < base_.size(); ++i) {
      const tensor::TensorSpec& spec = parts_.layout.tensors()[i];
      const torch::Tensor base_values = in_main_memory(base_[i]);
      const torch::Tensor now_values = in_main_memory(parts_.tensors[i]);
      const float* const base = base_values.data_ptr<float>();
      const float* const now = now_values.data_ptr<float>();
      for (std::uint64_t k = 0; k < spec.count; ++k) {
        float& own = variates_.own[spec.offset + k];
        own = static_cast<float>(double{own} - double{variates_.server[spec.offset + k]} +
                                 (double{base[k]} - double{now[k]}) * scale);
      }
    }
  }

 private:
  [[nodiscard]] std::size_t trained_values() const {
    const tensor::TensorSpec& last = parts_.layout.tensors()[base_.size() - 1];
    return last.offset + last.count;
  }

  [[nodiscard]] torch::Tensor difference(std::span<const float> to, std::span<const float> from, std::size_t i) const {
    const tensor::TensorSpec& spec = parts_.layout.tensors()[i];
    const torch::Tensor values = host_like(parts_.tensors[i]);
    std::transform(to.begin() + static_cast<std::ptrdiff_t>(spec.offset),
                   to.begin() + static_cast<std::ptrdiff_t>(spec.offset + spec.count),
                   from.begin() + static_cast<std::ptrdiff_t>(spec.offset), values.data_ptr<float>(), std::minus<>());
    return values.to(parts_.device);
  }

  Model::Parts& parts_;
  double proximal_;
  double rate_;
  ControlVariates variates_;
  std::vector<torch::Tensor> base_;
  std::vector<torch::Tensor> drift_;  // server's variate less the device's
};

}  // namespace flops::models
