// Takes the mean block by block and writes the next model and the next state: one pass, a few blocks of memory.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "flops/aggregation/round_sum.hpp"
#include "model_writer.hpp"
#include "state_writer.hpp"

namespace flops::aggregation {

class Stepper {
 public:
  // `base` and the algorithm must outlive it.
  [[nodiscard]] static Result<Stepper> open(const ModelFolder& models, const tensor::SafetensorsFile& base,
                                            const ServerStep& step, const algorithms::Totals& totals);

  // The next values of the mean. permanent: the step leaves the range of float32.
  [[nodiscard]] Result<> take(std::uint64_t offset, std::span<const float> mean);
  // Stores the state, then the model: who has a model has its state.
  [[nodiscard]] Result<NewModel> finish();

 private:
  Stepper(const tensor::SafetensorsFile& base, const algorithms::Algorithm& algorithm, algorithms::RoundFacts facts,
          ModelWriter model)
      : base_(&base), algorithm_(&algorithm), facts_(facts), model_(std::move(model)) {}
  [[nodiscard]] Result<> open_states(const ModelFolder& models, const Digest& old);
  [[nodiscard]] Result<> read(std::uint64_t offset, std::size_t count);
  void step_tensor(const tensor::TensorSpec& tensor, std::uint64_t offset, std::span<const float> mean);
  [[nodiscard]] Result<> check(std::uint64_t offset) const;
  [[nodiscard]] std::size_t states() const { return algorithm_->state_vectors(); }

  const tensor::SafetensorsFile* base_;
  const algorithms::Algorithm* algorithm_;
  algorithms::RoundFacts facts_;
  ModelWriter model_;
  std::optional<tensor::SafetensorsFile> old_;  // none: zeros
  std::optional<StateWriter> new_;              // none: the algorithm keeps no state
  std::vector<float> from_, next_;              // of the current block, as is `state_`
  std::array<std::vector<float>, algorithms::max_state_vectors> state_;
};

}  // namespace flops::aggregation
