// Writes a model file whose name, its digest, is known only at the end: one pass over the values.
#pragma once

#include "flops/aggregation/round_sum.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/layout.hpp"
#include "part_file.hpp"

namespace flops::aggregation {

class ModelWriter {
 public:
  [[nodiscard]] static Result<ModelWriter> open(const ModelFolder& models, const tensor::Layout& layout);

  [[nodiscard]] Result<> append(std::span<const float> values);
  // Syncs and gives the file its name. corrupt when values are missing.
  [[nodiscard]] Result<NewModel> finish();

 private:
  ModelWriter(const ModelFolder& models, const tensor::Layout& layout, PartFile file);
  [[nodiscard]] Result<> write(std::span<const std::byte> bytes);

  const ModelFolder* models_;
  std::uint64_t missing_;  // elements
  std::uint64_t bytes_ = 0;
  PartFile file_;
  crypto::Sha256 digest_;
};

}  // namespace flops::aggregation
