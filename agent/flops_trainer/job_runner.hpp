// Carries out one job after the other with fresh models; only the data is kept between them.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "flops/core/fd.hpp"
#include "flops/models/dataset.hpp"
#include "flops/models/model.hpp"
#include "flops/trainer/job.hpp"

namespace flops {

// How a job in progress reaches the agent.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  // Before every batch. An error (cancelled) ends the job.
  virtual Result<> progress(std::string_view phase, std::uint64_t done, std::uint64_t total) = 0;
  virtual void evaluated(const trainer::Evaluation& evaluation) = 0;
};

class JobRunner {
 public:
  [[nodiscard]] Result<trainer::JobReport> run(const trainer::Job& job, const std::vector<Fd>& descriptors,
                                               JobObserver& observer);

 private:
  [[nodiscard]] Result<trainer::JobReport> init(const trainer::Job& job, int result);
  [[nodiscard]] Result<trainer::Evaluation> evaluate(models::Model& model, const trainer::Job& job,
                                                     JobObserver& observer);
  [[nodiscard]] Result<trainer::JobReport> train(models::Model& model, const trainer::Job& job, int result,
                                                 JobObserver& observer);
  models::SplitCache splits_;
};

}  // namespace flops
