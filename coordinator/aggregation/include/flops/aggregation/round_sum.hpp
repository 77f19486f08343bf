// The sum of one round: updates are decoded from their stored blobs block by block and added exactly; closing it makes
// the next model, with the step of an algorithm when one is given. Memory: three times the model for the sum, and a few
// blocks.
//
// Not thread-safe; the coordinator uses it from its one worker thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "flops/aggregation/model_folder.hpp"
#include "flops/algorithms/algorithm.hpp"
#include "flops/blob/file_store.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/safetensors.hpp"

namespace flops::aggregation {

struct StoredUpdate {
  std::filesystem::path file;
  std::uint64_t bytes = 0;
  Digest base = {};  // the model it was made from; none: the base of the sum
  bool sum = false;  // it is a site's partial sum (docs/protocol-codec.md) instead of parameters
};

struct NewModel {
  Digest digest;
  std::uint64_t file_bytes = 0;
  Digest state = {};  // that the next round's step needs; none: the algorithm keeps none
};

// How a round's mean becomes the next model.
struct ServerStep {
  const algorithms::Algorithm* algorithm = nullptr;  // none: the mean
  Digest state = {};                                 // of the round before; none: zeros, as in the first round
  std::uint64_t population = 0;                      // participants the run knows
};

class RoundSum {
 public:
  // Scales are chosen from the base model.
  [[nodiscard]] static Result<std::unique_ptr<RoundSum>> open(const ModelFolder& models, const Digest& base);

  // An update from the base counts with its values, one from an older model with the step it made from there, taken
  // from the base: base + (local - older).
  // `weight`: what Algorithm::weight makes of `work`, through weight_in_sum.
  // A partial sum from the base whose weight is to be `weight`, a whole multiple of its own, is merged exactly; else it
  // counts with its mean, like a model. Its own weight has to be work.samples.
  // All or nothing. permanent or corrupt: the update is refused, with a reason for its sender; the sum is unchanged.
  [[nodiscard]] Result<> add(const StoredUpdate& update, const algorithms::Contribution& work, std::uint64_t weight);

  // What a cluster hands up after one round: its sum, added as it is, so that nothing shows that there were clusters.
  // bug: of another base or layout. permanent: the weight is too large.
  [[nodiscard]] Result<> merge(const RoundSum& cluster);
  // What a cluster hands up after several rounds: its model, which began as `base`.
  // All or nothing, as add().
  [[nodiscard]] Result<> add_model(const Digest& model, const Digest& base, const algorithms::Contribution& work,
                                   std::uint64_t weight);

  // The sum as it travels to the level above (docs/protocol-codec.md, partial sums).
  [[nodiscard]] Result<> write(const tensor::ByteSink& out) const { return sum_.write(out); }

  [[nodiscard]] std::uint64_t total_weight() const { return sum_.total_weight(); }
  [[nodiscard]] const algorithms::Totals& totals() const { return totals_; }
  [[nodiscard]] const tensor::Layout& layout() const { return base_.layout; }

  // Writes the weighted mean as a new model file. permanent when nothing was added.
  [[nodiscard]] Result<NewModel> close(const ModelFolder& models) const;
  // Takes the algorithm's step from the base towards the mean instead; the new state is stored before the new model.
  // permanent also when the step leaves the range of float32; an old state that is missing or has another layout is an
  // error that names its file.
  [[nodiscard]] Result<NewModel> close(const ModelFolder& models, const ServerStep& step) const;

 private:
  RoundSum(ModelFolder models, const Digest& digest, tensor::SafetensorsFile base, tensor::Accumulator sum)
      : models_(std::move(models)), digest_(digest), base_(std::move(base)), sum_(std::move(sum)) {}
  [[nodiscard]] Result<> add_sum(const StoredUpdate& update, const algorithms::Contribution& work,
                                 std::uint64_t weight);
  [[nodiscard]] Result<tensor::Accumulator> read_sum(const StoredUpdate& update, std::uint64_t samples) const;
  [[nodiscard]] Result<> merge_counted(const tensor::Accumulator& other, const algorithms::Totals& work);
  // Whether the base of an update is this sum's.
  [[nodiscard]] bool is_current(const Digest& base) const { return base.empty() || base == digest_; }
  [[nodiscard]] Result<tensor::SafetensorsFile> open_older(const Digest& base) const;
  [[nodiscard]] Result<> check_weight(std::uint64_t weight) const;
  // Hands the contribution's values to the sink, given those it was made from. Called again when it has to be taken
  // out.
  using Values = std::function<Result<>(const tensor::FloatSource& from, const tensor::FloatSink& sink)>;
  [[nodiscard]] Result<> add_counted(const Values& values, const Digest& base, const algorithms::Contribution& work,
                                     std::uint64_t weight);
  [[nodiscard]] Result<> add_weighted(const Values& values, const Digest& base, std::uint64_t weight);
  [[nodiscard]] Result<> add_from(const tensor::SafetensorsFile* older, const Values& values, std::uint32_t weight);

  ModelFolder models_;
  Digest digest_;  // of the base
  tensor::SafetensorsFile base_;
  tensor::Accumulator sum_;
  algorithms::Totals totals_;
};

// Writes the sum into this file, synced, all or nothing; what was there before is replaced. Its bytes. `models`: on the
// same file system, for the time of writing.
[[nodiscard]] Result<std::uint64_t> store_sum(const ModelFolder& models, const RoundSum& sum,
                                              const std::filesystem::path& file);

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
