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

// What travels: a model's parameters; with control variates [x, c].
using Values = std::shared_ptr<const std::vector<float>>;

struct LearningTask {
  DeviceId learner;
  Values base;
  models::TrainingPlan plan;
  std::uint64_t seed = 0;
  bool train = true;
  bool evaluate = false;       // the base, on the learner's test samples
  std::filesystem::path into;  // where the encoded update goes
  bool control_variates = false;
  Values variate;  // the learner's own, of the model's length; none: zeros, as in its first round
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

struct LearningResult {
  std::uint64_t samples = 0;
  std::uint64_t steps = 0;
  double train_loss = 0;
  std::uint64_t update_bytes = 0;
  Values variate;  // the learner's new one, if the update counts
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
  [[nodiscard]] Result<models::Model*> with(std::span<const float> travelling);
  [[nodiscard]] Result<std::vector<float>> train(models::Model& model, const LearningTask& task,
                                                 LearningResult& result) const;
  const Population* population_;
  std::string name_;
  std::optional<models::Model> model_;
};

struct InitialModel {
  tensor::Layout layout;  // of what travels
  std::uint64_t bytes = 0;
};
// The initial parameters as a device makes and sends them: encoded without a base.
[[nodiscard]] Result<InitialModel> make_initial(const std::string& model, bool control_variates, std::uint64_t seed,
                                                const std::filesystem::path& into);

}  // namespace flops::sim
