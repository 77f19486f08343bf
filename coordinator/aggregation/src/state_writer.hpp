// Writes the vectors of a state side by side, in one pass, into a file named by their digest: SHA-256 of the layout id
// and, one after another, the SHA-256 of each vector's little-endian float32.
#pragma once

#include <span>
#include <vector>

#include "flops/aggregation/model_folder.hpp"
#include "flops/crypto/digest.hpp"
#include "part_file.hpp"

namespace flops::aggregation {

class StateWriter {
 public:
  // `layout`: of the whole state, see state_layout().
  [[nodiscard]] static Result<StateWriter> open(const ModelFolder& models, const tensor::Layout& layout,
                                                std::size_t vectors);

  // The next values of vector k.
  [[nodiscard]] Result<> append(std::size_t k, std::span<const float> values);
  // Syncs and gives the file its name. bug when values are missing.
  [[nodiscard]] Result<Digest> finish();

 private:
  struct Vector {
    std::uint64_t end;  // bytes
    std::uint64_t at;
    crypto::Sha256 digest;
  };
  StateWriter(const ModelFolder& models, const Digest& layout, PartFile file)
      : models_(&models), layout_(layout), file_(std::move(file)) {}

  const ModelFolder* models_;
  Digest layout_;
  PartFile file_;
  std::vector<Vector> vectors_;
};

}  // namespace flops::aggregation
