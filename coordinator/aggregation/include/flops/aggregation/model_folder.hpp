// Where model versions lie as files, and the state that an algorithm keeps beside them from round to round:
//   <folder>/<digest>.safetensors, <folder>/<digest>.state.safetensors
//
// Not thread-safe on one file; values, cheap to copy.
#pragma once

#include <filesystem>
#include <set>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::aggregation {

class ModelFolder {
 public:
  explicit ModelFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] std::filesystem::path path_of(const Digest& model) const {
    return folder_ / (model.hex() + ".safetensors");
  }
  [[nodiscard]] Result<tensor::SafetensorsFile> open(const Digest& model) const {
    return tensor::open_safetensors(path_of(model));
  }

  [[nodiscard]] std::filesystem::path state_path_of(const Digest& state) const;
  // Removes the states that are not in `needed`; what cannot be removed is an error at the end. Nobody may be closing a
  // round.
  [[nodiscard]] Result<> keep_states(const std::set<Digest>& needed) const;

  [[nodiscard]] std::filesystem::path unfinished_file() const;  // a new name for a file that is being written
  // What a program that was killed in the middle of one left. Nobody may be writing one.
  [[nodiscard]] Result<> remove_unfinished() const;

 private:
  std::filesystem::path folder_;
};

// Takes a model in that somebody else made: `file` gets its name in the folder when it is what it claims to be, synced.
// permanent: it is not the model `expected`, has values that are not finite, more than `max_parameters`, or is not
// written as models here are, and then it is left where it is.
[[nodiscard]] Result<> take_in(const ModelFolder& models, const std::filesystem::path& file, const Digest& expected,
                               std::uint64_t max_parameters);

// Of a state of `vectors` vectors as long as `model`: the tensors "<k>/<name>", vector after vector. permanent: it
// would pass the limits of a layout; worth asking before a run begins.
[[nodiscard]] Result<tensor::Layout> state_layout(const tensor::Layout& model, std::size_t vectors);

}  // namespace flops::aggregation
