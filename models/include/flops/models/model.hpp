// The built-in models, and a model's parameters as one flat float32 vector.
//
// No LibTorch here: what needs it stays in this library's sources. LibTorch's exceptions end here as errors. One thread
// at a time uses a model; configure_runtime() was called before.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/models/device.hpp"
#include "flops/tensor/layout.hpp"

namespace flops::models {

struct ModelInfo {
  std::string_view name;     // in tasks and on command lines: "cnn-small"
  std::string_view summary;  // one line for people
  std::uint32_t rows = 28;   // of the grey-scale images it takes; 1 for tables of numbers
  std::uint32_t columns = 28;
  std::uint32_t classes = 10;
};

// Every model of the zoo, by name.
[[nodiscard]] std::vector<ModelInfo> zoo();

class Model {
 public:
  // A new model with parameters drawn from `seed`: the same seed gives the same parameters, on every device.
  // permanent: no such model (the message lists those there are), or the device does not work.
  [[nodiscard]] static Result<Model> create(std::string_view name, std::uint64_t seed, Device device = Device::cpu);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  [[nodiscard]] const ModelInfo& info() const;
  // Parameters in the order of their definition, then floating-point buffers.
  [[nodiscard]] const tensor::Layout& layout() const;

  // Copies all parameters from or to a flat vector, e.g. a mapped file. permanent: not layout().parameters() long, or
  // a value is NaN or infinite (load: the base model is unusable; store: training diverged).
  [[nodiscard]] Result<> load(std::span<const float> flat);
  [[nodiscard]] Result<> store(std::span<float> flat) const;

  struct Parts;  // LibTorch's side, for this library's own sources
  [[nodiscard]] Parts& parts() const { return *parts_; }

 private:
  explicit Model(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace flops::models
