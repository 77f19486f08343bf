// Carries out one job after the other, each with a fresh model; the data is kept between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flops/core/fd.hpp"
#include "flops/models/dataset.hpp"
#include "flops/models/model.hpp"
#include "flops/models/training.hpp"
#include "flops/trainer/job.hpp"
#include "flops/worker/worker.hpp"
#include "job_variates.hpp"
#include "mapping.hpp"

namespace flops {

using worker::JobObserver;

class JobRunner final : public worker::Runner {
 public:
  explicit JobRunner(models::Device device) : device_(device) {}
  [[nodiscard]] Result<trainer::JobReport> run(const trainer::Job& job, const std::vector<Fd>& descriptors,
                                               JobObserver& observer) override;
  // Makes the next job's model, presuming it is of the same kind as the last one's.
  void prepare() override;

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
  models::Device device_;
  models::SplitCache splits_;
  std::string last_model_;
  std::optional<models::Model> spare_;  // as it was made, never used
};

}  // namespace flops
