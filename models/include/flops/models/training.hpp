// Local training and evaluation, deterministic: the same model, data, plan, seed and number of threads give the same
// bytes, in a new process or one that has run other jobs. Different models may be trained in different threads at once;
// all random numbers are the model's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/models/checkpoint.hpp"
#include "flops/models/dataset.hpp"
#include "flops/models/model.hpp"

namespace flops::models {

struct TrainingPlan {
  std::int64_t epochs = 1;
  std::int64_t batch = 32;
  std::string optimizer = "sgd";  // sgd | adam
  double learning_rate = 0.05;
  double momentum = 0.0;  // sgd only
  double weight_decay = 0.0;
  std::string loss = "cross_entropy";  // cross_entropy | mse (of the outputs against the one-hot label)
  std::int64_t steps = 0;              // batches in all, over as many epochs as that takes; 0: `epochs` says how many
  double proximal = 0.0;               // mu of FedProx: mu / 2 * |w - base|^2 is added to the loss
};

// SCAFFOLD's control variates, in the model's layout (buffers' values are zero). Empty: without.
struct ControlVariates {
  std::span<const float> server;
  std::span<float> own;  // the device's; on success the new one

  [[nodiscard]] bool empty() const { return server.empty(); }
};

struct TrainingOutcome {
  std::uint64_t samples = 0;
  double loss = 0;               // mean over the last epoch
  double seconds = 0;            // in all processes that worked on it
  std::uint64_t resumed_at = 0;  // batches that a checkpoint brought
  std::uint64_t steps = 0;       // batches in all, each one step of the optimiser
};

struct EvaluationOutcome {
  std::uint64_t samples = 0;
  double loss = 0;      // mean over the samples
  double accuracy = 0;  // 0 to 1: the largest output is the label's
};

// Called before every batch with the number of batches done, and once after the last. An error ends the work and is
// passed on; that is how a job is cancelled.
using OnBatch = std::function<Result<>(std::uint64_t done, std::uint64_t total)>;
// The same, with what a checkpoint needs.
using OnTrainingBatch = std::function<Result<>(std::uint64_t done, std::uint64_t total, const Snapshot& snapshot)>;

// Once, before anything else: number of compute threads (0: one per core), deterministic algorithms.
void configure_runtime(int threads);

// Trains in place. `resume`: a checkpoint of the same training to go on from; empty: from the start. permanent: the
// plan or the data do not fit the model, or "training diverged: ..." (a loss that is NaN or infinite); resource: out of
// memory; corrupt: `resume` is no checkpoint of this training, and the model is as it was.
[[nodiscard]] Result<TrainingOutcome> train(Model& model, const Split& split, const TrainingPlan& plan,
                                            std::uint64_t seed, const OnTrainingBatch& on_batch,
                                            std::span<const std::byte> resume = {},
                                            const ControlVariates& variates = {});

// `loss` as in TrainingPlan. permanent: as above, or the loss is not finite.
[[nodiscard]] Result<EvaluationOutcome> evaluate(Model& model, const Split& split, const std::string& loss,
                                                 std::int64_t batch, const OnBatch& on_batch);

// The order in which an epoch visits the samples: Fisher-Yates with xoshiro256**, a function of its arguments alone on
// every platform.
[[nodiscard]] std::vector<std::uint32_t> shuffled(std::uint32_t count, std::uint64_t seed, std::uint64_t epoch);

}  // namespace flops::models
