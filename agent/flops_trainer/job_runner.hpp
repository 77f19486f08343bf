// Carries out one job after the other, each with a fresh model; the data is kept between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/fd.hpp"
#include "flops/models/dataset.hpp"
#include "flops/models/model.hpp"
#include "flops/models/training.hpp"
#include "flops/trainer/job.hpp"
#include "job_variates.hpp"
#include "mapping.hpp"

namespace flops {

// How a job in progress reaches the agent.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  // Before every batch. An error (cancelled) ends the job.
  virtual Result<> progress(std::string_view phase, std::uint64_t done, std::uint64_t total) = 0;
  virtual void evaluated(const trainer::Evaluation& evaluation) = 0;
  virtual void checkpointed(const trainer::CheckpointNote& note) = 0;
  // As of the last progress: the agent wants the job to end for now.
  [[nodiscard]] virtual bool suspended() const = 0;
  // As of the last progress: checkpoints that the agent has not answered.
  [[nodiscard]] virtual int unanswered() const = 0;
};

class JobRunner {
 public:
  [[nodiscard]] Result<trainer::JobReport> run(const trainer::Job& job, const std::vector<Fd>& descriptors,
                                               JobObserver& observer);
  // Between jobs: makes the next one's model, presuming it is of the same kind as the last one's.
  void prepare();

 private:
  struct Base {
    models::Model model;
    std::optional<Mapping> travelling;  // with control variates: those too, behind the model's parameters
  };
  [[nodiscard]] Result<Base> load_base(const trainer::Job& job, int parameters);
  [[nodiscard]] Result<trainer::JobReport> init(const trainer::Job& job, int result);
  [[nodiscard]] Result<trainer::Evaluation> evaluate(models::Model& model, const trainer::Job& job,
                                                     JobObserver& observer);
  [[nodiscard]] Result<trainer::JobReport> train(Base base, const trainer::Job& job, const std::vector<Fd>& descriptors,
                                                 JobObserver& observer);
  [[nodiscard]] Result<models::TrainingOutcome> go_through(models::Model& model, const trainer::Job& job,
                                                           int checkpoint, const std::optional<JobVariates>& variates,
                                                           JobObserver& observer);
  models::SplitCache splits_;
  std::string last_model_;
  std::optional<models::Model> spare_;  // as it was made, never used
};

}  // namespace flops
