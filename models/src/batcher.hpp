// Batches of a split as tensors.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include <torch/utils.h>

#include "flops/models/dataset.hpp"

namespace flops::models {

struct Batch {
  torch::Tensor images;  // [n, 1, rows, columns], on the device; bytes become 0 to 1
  torch::Tensor labels;  // [n], int64
};

// Gathers samples into two tensors in main memory that are used again for every batch.
class Batcher {
 public:
  Batcher(const Split& split, std::int64_t batch, torch::Device device)
      : split_(split),
        device_(device),
        capacity_(std::min<std::int64_t>(batch, split.count)),
        images_(torch::empty({capacity_, 1, split.rows, split.columns}, torch::kFloat32)),
        labels_(torch::empty({capacity_}, torch::kInt64)) {}

  [[nodiscard]] std::uint64_t capacity() const { return static_cast<std::uint64_t>(capacity_); }
  [[nodiscard]] std::uint64_t batches() const { return (split_.count + capacity() - 1) / capacity(); }

  // The n-th batch of an epoch that visits the samples in this order.
  Batch gather(std::span<const std::uint32_t> order, std::uint64_t n) {
    const auto size = static_cast<std::size_t>(capacity_);
    const auto first = static_cast<std::size_t>(n) * size;
    const auto picked = order.subspan(first, std::min(size, order.size() - first));
    float* pixel = images_.data_ptr<float>();
    std::int64_t* label = labels_.data_ptr<std::int64_t>();
    for (const std::uint32_t index : picked) {
      pixel = split_.numbers.empty() ? copy_bytes(index, pixel) : copy_numbers(index, pixel);
      *label++ = split_.labels[index];
    }
    const auto count = static_cast<std::int64_t>(picked.size());
    return count == capacity_ ? Batch{images_.to(device_), labels_.to(device_)}
                              : Batch{images_.narrow(0, 0, count).to(device_), labels_.narrow(0, 0, count).to(device_)};
  }

 private:
  static constexpr std::array<float, 256> make_scale() {
    std::array<float, 256> scale{};
    for (std::size_t value = 0; value < scale.size(); ++value) {
      scale[value] = static_cast<float>(value) / 255.0F;
    }
    return scale;
  }

  float* copy_bytes(std::uint32_t index, float* to) const {
    static constexpr std::array<float, 256> scale = make_scale();
    const std::uint8_t* const from = split_.pixels.data() + index * split_.sample_values();
    return std::transform(from, from + split_.sample_values(), to, [](std::uint8_t byte) { return scale[byte]; });
  }

  float* copy_numbers(std::uint32_t index, float* to) const {
    const float* const from = split_.numbers.data() + index * split_.sample_values();
    return std::copy(from, from + split_.sample_values(), to);
  }

  const Split& split_;
  torch::Device device_;
  std::int64_t capacity_;
  torch::Tensor images_;
  torch::Tensor labels_;
};

}  // namespace flops::models
