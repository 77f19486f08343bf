// What a virtual learner's device would compute: train, measure, encode. Any thread, each with models of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/models/model.hpp"
#include "flops/models/training.hpp"
#include "flops/sim/simulation.hpp"
#include "population.hpp"

namespace flops::sim {

using Values = std::shared_ptr<const std::vector<float>>;

// A model version's parameters in memory, and how many there are.
struct LearningTask {
  DeviceId learner;
  Values base;
  models::TrainingPlan plan;
  std::uint64_t seed = 0;
  bool train = true;
  bool evaluate = false;       // the base, on the learner's test samples
  std::filesystem::path into;  // where the encoded update goes
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

struct LearningResult {
  std::uint64_t samples = 0;
  std::uint64_t steps = 0;
  double train_loss = 0;
  std::uint64_t update_bytes = 0;
  std::optional<Measurement> measured;
};

// One a thread.
class Learning {
 public:
  Learning(const Population& population, std::string model) : population_(&population), name_(std::move(model)) {}

  // permanent: training diverged, the data do not fit the model.
  [[nodiscard]] Result<LearningResult> run(const LearningTask& task);
  [[nodiscard]] Result<Measurement> measure(std::span<const float> values, const models::Split& split,
                                            const models::TrainingPlan& plan);

 private:
  [[nodiscard]] Result<models::Model*> with(std::span<const float> values);
  const Population* population_;
  std::string name_;
  std::optional<models::Model> model_;
};

// The initial parameters as a device makes and sends them: encoded without a base. Returns their layout.
[[nodiscard]] Result<tensor::Layout> make_initial(const std::string& model, std::uint64_t seed,
                                                  const std::filesystem::path& into, std::uint64_t& bytes);

}  // namespace flops::sim
