// The sum of one round: updates are decoded from their stored blobs block by block and added exactly; closing it makes
// the next model. Memory: three times the model for the sum, and a few blocks.
//
// Not thread-safe; the coordinator uses it from its one worker thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "flops/blob/file_store.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::aggregation {

// A model version as a file: <folder>/<digest>.safetensors.
class ModelFolder {
 public:
  explicit ModelFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] std::filesystem::path path_of(const Digest& model) const {
    return folder_ / (model.hex() + ".safetensors");
  }
  [[nodiscard]] Result<tensor::SafetensorsFile> open(const Digest& model) const {
    return tensor::open_safetensors(path_of(model));
  }
  [[nodiscard]] std::filesystem::path unfinished_file() const;  // a new name for a file that is being written
  // What a program that was killed in the middle of one left. Nobody may be writing one.
  [[nodiscard]] Result<> remove_unfinished() const;

 private:
  std::filesystem::path folder_;
};

struct StoredUpdate {
  std::filesystem::path file;
  std::uint64_t bytes = 0;
  Digest base = {};  // the model it was made from; none: the base of the sum
};

struct NewModel {
  Digest digest;
  std::uint64_t file_bytes = 0;
};

class RoundSum {
 public:
  // Scales are chosen from the base model.
  [[nodiscard]] static Result<std::unique_ptr<RoundSum>> open(const ModelFolder& models, const Digest& base);

  // An update from the base counts with its values, one from an older model with the step it made from there, taken
  // from the base: base + (local - older).
  // All or nothing. permanent or corrupt: the update is refused, with a reason for its sender; the sum is unchanged.
  [[nodiscard]] Result<> add(const StoredUpdate& update, std::uint64_t weight);

  [[nodiscard]] std::uint64_t total_weight() const { return sum_.total_weight(); }
  [[nodiscard]] const tensor::Layout& layout() const { return base_.layout; }

  // Writes the weighted mean as a new model file. permanent when nothing was added.
  [[nodiscard]] Result<NewModel> close(const ModelFolder& models) const;

 private:
  RoundSum(ModelFolder models, const Digest& digest, tensor::SafetensorsFile base, tensor::Accumulator sum)
      : models_(std::move(models)), digest_(digest), base_(std::move(base)), sum_(std::move(sum)) {}
  [[nodiscard]] Result<> add_from(const tensor::SafetensorsFile* older, const StoredUpdate& update,
                                  std::uint32_t weight);

  ModelFolder models_;
  Digest digest_;  // of the base
  tensor::SafetensorsFile base_;
  tensor::Accumulator sum_;
};

// Stores the model's initial parameters that a device made: a complete update (no base) in `layout`.
[[nodiscard]] Result<NewModel> store_initial_model(const ModelFolder& models, const tensor::Layout& layout,
                                                   const StoredUpdate& update);

struct EncodedModel {
  Digest blob;
  std::uint64_t bytes = 0;
};
// Makes the blob that brings `model` to a device: a delta against `base`, or complete when base is empty.
[[nodiscard]] Result<EncodedModel> encode_model(const ModelFolder& models, blob::FileStore& blobs, const Digest& model,
                                                const Digest& base);

}  // namespace flops::aggregation
