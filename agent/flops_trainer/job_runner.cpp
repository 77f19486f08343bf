#include "job_runner.hpp"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "checkpoint_memory.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"
#include "flops/models/training.hpp"
#include "flops/tensor/control_variates.hpp"
#include "job_variates.hpp"
#include "mapping.hpp"

namespace flops {
namespace {

using trainer::Job;
using trainer::JobKind;
using trainer::JobReport;

double seconds_since(SteadyTime start) {
  return Seconds(SystemClock().steady() - start).count();
}

std::size_t descriptors_of(const Job& job) {
  const std::size_t training = job.control_variates ? 4 : 3;
  return job.kind == JobKind::train ? training : 1;
}

// Of what the agent holds: the model's own, or with its variates.
Result<tensor::Layout> travelling_layout(const models::Model& model, const Job& job) {
  return job.control_variates ? tensor::with_variates(model.layout()) : model.layout();
}

models::TrainingPlan plan_of(const trainer::Training& wanted) {
  return {wanted.epochs,       wanted.batch, wanted.optimizer, wanted.learning_rate, wanted.momentum,
          wanted.weight_decay, wanted.loss,  wanted.steps,     wanted.proximal};
}

Result<> stop_for_now() {
  return fail(ErrorKind::cancelled, "the job was suspended");
}

// Decides at every batch whether to write a checkpoint.
class Checkpoints {
 public:
  Checkpoints(const Job& job, CheckpointMemory& memory, JobObserver& observer)
      : policy_(job.checkpoints), memory_(memory), observer_(observer) {}

  void start_at(std::uint64_t done) { last_ = done; }

  Result<> on_batch(std::uint64_t done, std::uint64_t total, const models::Snapshot& snapshot) {
    if (auto go_on = observer_.progress("training", done, total); !go_on || done == total) {
      return go_on;
    }
    if (observer_.suspended()) {
      // The agent reads the last one at most: the other place is free even if it has not answered.
      auto written = done > last_ && observer_.unanswered() <= 1 ? write(done, total, snapshot) : Result<>();
      return written ? stop_for_now() : written;
    }
    return due(done) && observer_.unanswered() == 0 ? write(done, total, snapshot) : Result<>();
  }

 private:
  [[nodiscard]] bool due(std::uint64_t done) const {
    const bool by_batches = policy_.batches > 0 && done - last_ >= static_cast<std::uint64_t>(policy_.batches);
    const bool by_time = policy_.seconds > 0 && done > last_ && seconds_since(last_at_) >= policy_.seconds;
    return by_batches || by_time;
  }

  Result<> write(std::uint64_t done, std::uint64_t total, const models::Snapshot& snapshot) {
    const auto place = memory_.write(snapshot);
    if (!place) {
      return fail(place.error(), "writing a checkpoint");
    }
    last_ = done;
    last_at_ = SystemClock().steady();
    observer_.checkpointed({*place, done, total});
    return {};
  }

  const trainer::CheckpointPolicy policy_;
  CheckpointMemory& memory_;
  JobObserver& observer_;
  std::uint64_t last_ = 0;  // batches at the last one
  SteadyTime last_at_ = SystemClock().steady();
};

}  // namespace

// The job's model with the agent's parameters in it.
Result<JobRunner::Base> JobRunner::load_base(const Job& job, int parameters) {
  if (spare_ && spare_->info().name != job.model) {
    spare_.reset();  // its memory first
  }
  auto model = spare_ ? Result<models::Model>(*std::move(spare_)) : models::Model::create(job.model, 0, device_);
  spare_.reset();
  const auto layout = model ? travelling_layout(*model, job) : fail(model.error());
  if (!layout) {
    return fail(layout.error());
  }
  if (layout->id() != job.layout) {
    return fail(
        ErrorKind::permanent,
        "model '{}' has the layout {} here, but the job's parameters have {}: is this device's software older or "
        "newer than the coordinator's?",
        job.model, layout->id().short_hex(), job.layout.short_hex());
  }
  auto base = Mapping::open(parameters, layout->parameters(), Mapping::Access::read);
  if (!base) {
    return fail(base.error(), "base model");
  }
  if (auto loaded = model->load(base->values().first(model->layout().parameters())); !loaded) {
    return fail(loaded.error());
  }
  last_model_ = job.model;
  return Base{*std::move(model), job.control_variates ? std::optional(*std::move(base)) : std::nullopt};
}

void JobRunner::prepare() {
  if (spare_ || last_model_.empty()) {
    return;
  }
  if (auto model = models::Model::create(last_model_, 0, device_); model) {
    spare_ = *std::move(model);
  }
}

Result<JobReport> JobRunner::run(const Job& job, const std::vector<Fd>& descriptors, JobObserver& observer) {
  if (job.part) {
    return fail(ErrorKind::permanent, "a part of a site's work came to flops-trainer: it is for flops-site");
  }
  if (descriptors.size() != descriptors_of(job)) {
    return fail(ErrorKind::permanent, "a job '{}' comes with {} descriptors, not {}", trainer::to_string(job.kind),
                descriptors_of(job), descriptors.size());
  }
  if (job.kind == JobKind::init) {
    return init(job, descriptors[0].get());
  }
  if (auto go_on = observer.progress("loading", 0, 0); !go_on) {
    return fail(go_on.error());
  }
  if (observer.suspended()) {
    return fail(stop_for_now().error());
  }
  auto base = load_base(job, descriptors[0].get());
  if (!base) {
    return fail(base.error());
  }
  std::optional<trainer::Evaluation> evaluation;
  if (job.kind == JobKind::evaluate || job.evaluate_first) {
    const auto measured = evaluate(base->model, job, observer);
    if (!measured) {
      return fail(measured.error());
    }
    evaluation = *measured;
  }
  JobReport report;
  if (job.kind == JobKind::train) {
    if (evaluation) {
      observer.evaluated(*evaluation);
    }
    auto trained = train(*std::move(base), job, descriptors, observer);
    if (!trained) {
      return trained;
    }
    report = std::move(*trained);
  }
  report.evaluation = evaluation;
  return report;
}

Result<JobReport> JobRunner::init(const Job& job, int result) {
  spare_.reset();
  const auto model = models::Model::create(job.model, job.seed);
  const auto layout = model ? travelling_layout(*model, job) : fail(model.error());
  if (!layout) {
    return fail(layout.error());
  }
  if (::ftruncate(result, static_cast<off_t>(layout->bytes())) != 0) {
    return fail(errno_error(errno, "sizing the memory for the initial parameters"));
  }
  const auto mapping = Mapping::open(result, layout->parameters(), Mapping::Access::write);
  if (!mapping) {
    return fail(mapping.error(), "initial parameters");
  }
  // Control variates begin with zeros, as the memory does.
  if (auto stored = model->store(mapping->values().first(model->layout().parameters())); !stored) {
    return fail(stored.error());
  }
  JobReport report;
  report.layout = layout->canonical();
  return report;
}

Result<trainer::Evaluation> JobRunner::evaluate(models::Model& model, const Job& job, JobObserver& observer) {
  const auto split = splits_.get(job.dataset.test_samples, job.dataset.test_labels);
  if (!split) {
    return fail(split.error(), fmt::format("test split of '{}'", job.dataset.tag));
  }
  const SteadyTime start = SystemClock().steady();
  const auto outcome = models::evaluate(model, **split, job.training.loss, job.evaluate_batch,
                                        [&](std::uint64_t done, std::uint64_t total) {
                                          auto go_on = observer.progress("evaluating", done, total);
                                          return go_on && observer.suspended() ? stop_for_now() : go_on;
                                        });
  if (!outcome) {
    return fail(outcome.error());
  }
  return trainer::Evaluation{outcome->loss, outcome->accuracy, outcome->samples, seconds_since(start)};
}

Result<JobReport> JobRunner::train(Base base, const Job& job, const std::vector<Fd>& descriptors,
                                   JobObserver& observer) {
  models::Model& model = base.model;
  const std::uint64_t parameters = model.layout().parameters();
  // Mapped first: a result that does not fit is known before an hour of work.
  const std::uint64_t travelling = base.travelling ? base.travelling->values().size() : parameters;
  const auto result = Mapping::open(descriptors[1].get(), travelling, Mapping::Access::write);
  if (!result) {
    return fail(result.error(), "trained parameters");
  }
  std::optional<JobVariates> variates;
  if (base.travelling) {
    auto opened = JobVariates::open(*std::move(base.travelling), descriptors[3].get(), parameters);
    if (!opened) {
      return fail(opened.error());
    }
    variates = *std::move(opened);
  }
  auto outcome = go_through(model, job, descriptors[2].get(), variates, observer);
  if (!outcome) {
    return fail(outcome.error());
  }
  if (auto stored = model.store(result->values().first(parameters)); !stored) {
    return fail(stored.error());
  }
  if (variates) {
    variates->write_returned(result->values().subspan(parameters));
  }
  JobReport report;
  report.samples = outcome->samples;
  report.train_loss = outcome->loss;
  report.train_seconds = outcome->seconds;
  report.resumed_at = outcome->resumed_at;
  report.steps = outcome->steps;
  return report;
}

// From the job's checkpoint, or from the start when there is none that can be used.
Result<models::TrainingOutcome> JobRunner::go_through(models::Model& model, const Job& job, int checkpoint,
                                                      const std::optional<JobVariates>& variates,
                                                      JobObserver& observer) {
  const auto split = splits_.get(job.dataset.train_samples, job.dataset.train_labels);
  if (!split) {
    return fail(split.error(), fmt::format("train split of '{}'", job.dataset.tag));
  }
  const models::TrainingPlan plan = plan_of(job.training);
  CheckpointMemory memory(checkpoint, job.resume);
  Checkpoints checkpoints(job, memory, observer);
  const auto run = [&](std::span<const std::byte> resume) {
    bool first = true;
    return models::train(
        model, **split, plan, job.seed,
        [&](std::uint64_t done, std::uint64_t total, const models::Snapshot& snapshot) {
          if (std::exchange(first, false)) {
            checkpoints.start_at(done);
          }
          return checkpoints.on_batch(done, total, snapshot);
        },
        resume, variates ? variates->begin() : models::ControlVariates());
  };
  const auto resume = job.resume ? memory.read(*job.resume, model.layout().parameters())
                                 : Result<std::vector<std::byte>>(std::vector<std::byte>());
  auto outcome = resume ? run(*resume) : Result<models::TrainingOutcome>(fail(resume.error()));
  if (!outcome && outcome.error().kind == ErrorKind::corrupt && job.resume) {
    log::warn("worker", "training begins again: {}", outcome.error().what);
    outcome = run({});
  }
  return outcome;
}

}  // namespace flops
