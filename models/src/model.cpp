#include "flops/models/model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>

#include <torch/utils.h>

#include "parts.hpp"

namespace flops::models {
namespace {

Result<> collect(Model::Parts& parts) {
  std::vector<tensor::TensorSpec> specs;
  const auto add = [&](const std::string& name, const torch::Tensor& value) {
    specs.push_back({name, value.sizes().vec(), 0, 0});
    parts.tensors.push_back(value);
  };
  for (const auto& item : parts.net->named_parameters()) {
    add(item.key(), item.value());
  }
  for (const auto& item : parts.net->named_buffers()) {
    if (item.value().is_floating_point()) {
      add(item.key(), item.value());
    }
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (parts.tensors[i].scalar_type() != torch::kFloat32 || !parts.tensors[i].is_contiguous()) {
      return fail(ErrorKind::bug, "model '{}': '{}' is not a contiguous float32 tensor", parts.info.name,
                  specs[i].name);
    }
  }
  auto layout = tensor::Layout::create(std::move(specs));
  if (!layout) {
    return fail(layout.error(), fmt::format("model '{}'", parts.info.name));
  }
  parts.layout = std::move(*layout);
  return {};
}

// Index of the first value that is NaN or infinite.
std::optional<std::size_t> first_not_finite(const float* values, std::size_t count) {
  const float* const end = values + count;
  const float* const found = std::find_if(values, end, [](float value) { return !std::isfinite(value); });
  return found == end ? std::nullopt : std::optional(static_cast<std::size_t>(found - values));
}

Result<> check_length(const Model::Parts& parts, std::size_t length) {
  if (length != parts.layout.parameters()) {
    return fail(ErrorKind::permanent, "model '{}' has {} parameters, but {} were given", parts.info.name,
                parts.layout.parameters(), length);
  }
  return {};
}

}  // namespace

Model::Model(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const ModelInfo& Model::info() const {
  return parts_->info;
}
const tensor::Layout& Model::layout() const {
  return parts_->layout;
}

Result<Model> Model::create(std::string_view name, std::uint64_t seed, Device device) {
  const auto& entries = zoo_entries();
  const auto entry = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.info.name == name; });
  if (entry == entries.end()) {
    std::string known;
    for (const ZooEntry& e : entries) {
      known += (known.empty() ? "" : ", ") + std::string(e.info.name);
    }
    return fail(ErrorKind::permanent, "there is no model '{}'; there are: {}", name.substr(0, 64), known);
  }
  return guarded(fmt::format("making model '{}'", name), [&]() -> Result<Model> {
    // First parameters come from LibTorch's generator for the whole process.
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    torch::manual_seed(seed);
    auto parts = std::make_unique<Parts>(Parts{entry->info, entry->make(), torch_device(device), {}, {}});
    parts->net->to(parts->device);
    if (auto collected = collect(*parts); !collected) {
      return fail(collected.error());
    }
    return Model(std::move(parts));
  });
}

Result<> Model::load(std::span<const float> flat) {
  if (auto fits = check_length(*parts_, flat.size()); !fits) {
    return fits;
  }
  return guarded("loading parameters", [&]() -> Result<> {
    for (std::size_t i = 0; i < parts_->tensors.size(); ++i) {
      const tensor::TensorSpec& spec = parts_->layout.tensors()[i];
      const float* const from = flat.data() + spec.offset;
      if (const auto bad = first_not_finite(from, spec.count)) {
        return fail(ErrorKind::permanent, "the base model is unusable: value {} of '{}' is {}", *bad, spec.name,
                    from[*bad]);
      }
      put(parts_->tensors[i], from);
    }
    return {};
  });
}

Result<> Model::store(std::span<float> flat) const {
  if (auto fits = check_length(*parts_, flat.size()); !fits) {
    return fits;
  }
  return guarded("storing parameters", [&]() -> Result<> {
    for (std::size_t i = 0; i < parts_->tensors.size(); ++i) {
      const tensor::TensorSpec& spec = parts_->layout.tensors()[i];
      const torch::Tensor values = in_main_memory(parts_->tensors[i]);
      const float* const from = values.data_ptr<float>();
      if (const auto bad = first_not_finite(from, spec.count)) {
        return fail(ErrorKind::permanent, "training diverged: value {} of '{}' is {}; a smaller learning rate helps",
                    *bad, spec.name, from[*bad]);
      }
      std::memcpy(flat.data() + spec.offset, from, spec.count * sizeof(float));
    }
    return {};
  });
}

}  // namespace flops::models
