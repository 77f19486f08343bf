#include "flops/models/training.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <thread>

#include <dlfcn.h>

#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include "batcher.hpp"
#include "correction.hpp"
#include "flops/core/clock.hpp"
#include "flops/crypto/digest.hpp"
#include "parts.hpp"
#include "progress.hpp"

namespace flops::models {
namespace {

constexpr std::int64_t max_epochs = 100'000;
constexpr std::int64_t max_batch = 65'536;
constexpr std::int64_t max_steps = 1'000'000'000;

Result<> check_loss(const std::string& loss) {
  if (loss != "cross_entropy" && loss != "mse") {
    return fail(ErrorKind::permanent, "there is no loss '{}'; there are: cross_entropy, mse", loss);
  }
  return {};
}

Result<> check_batch(std::int64_t batch) {
  if (batch < 1 || batch > max_batch) {
    return fail(ErrorKind::permanent, "batch is {}; it must be 1 to {}", batch, max_batch);
  }
  return {};
}

Result<> check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {  // NaN fails too
    return fail(ErrorKind::permanent, "{} is {}; it must be {} to {}", name, value, low, high);
  }
  return {};
}

Result<> check_plan(const TrainingPlan& plan) {
  if (plan.optimizer != "sgd" && plan.optimizer != "adam") {
    return fail(ErrorKind::permanent, "there is no optimizer '{}'; there are: sgd, adam", plan.optimizer);
  }
  if (plan.optimizer == "adam" && plan.momentum != 0) {
    return fail(ErrorKind::permanent, "momentum is for sgd; adam has its own");
  }
  if (plan.epochs < 1 || plan.epochs > max_epochs) {
    return fail(ErrorKind::permanent, "epochs is {}; it must be 1 to {}", plan.epochs, max_epochs);
  }
  if (plan.steps < 0 || plan.steps > max_steps) {
    return fail(ErrorKind::permanent, "steps is {}; it must be 0 to {}", plan.steps, max_steps);
  }
  for (const auto& checked :
       {check_loss(plan.loss), check_batch(plan.batch), check_range("learning_rate", plan.learning_rate, 0, 1000),
        check_range("momentum", plan.momentum, 0, 1), check_range("weight_decay", plan.weight_decay, 0, 1000),
        check_range("proximal", plan.proximal, 0, 1000)}) {
    if (!checked) {
      return checked;
    }
  }
  return {};
}

Result<> check_variates(const ControlVariates& variates, const TrainingPlan& plan, const tensor::Layout& layout) {
  if (variates.empty()) {
    return {};
  }
  if (plan.optimizer != "sgd" || plan.momentum != 0 || plan.learning_rate == 0) {
    return fail(ErrorKind::permanent, "control variates are for plain sgd, with a learning rate and without momentum");
  }
  if (variates.server.size() != layout.parameters() || variates.own.size() != layout.parameters()) {
    return fail(ErrorKind::permanent, "control variates of {} and {} values, but the model has {}",
                variates.server.size(), variates.own.size(), layout.parameters());
  }
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::ranges::all_of(variates.server, finite) || !std::ranges::all_of(variates.own, finite)) {
    return fail(ErrorKind::permanent, "the control variates have values that are not finite");
  }
  return {};
}

Result<> check_fits(const Split& split, const ModelInfo& info) {
  if (split.count == 0) {
    return fail(ErrorKind::permanent, "{}: there are no samples", split.samples_name);
  }
  if (split.rows != info.rows || split.columns != info.columns) {
    return fail(ErrorKind::permanent, "{}: samples of {}x{}, but model '{}' takes {}x{}", split.samples_name,
                split.rows, split.columns, info.name, info.rows, info.columns);
  }
  const auto bad =
      std::find_if(split.labels.begin(), split.labels.end(), [&](std::uint8_t label) { return label >= info.classes; });
  if (bad != split.labels.end()) {
    return fail(ErrorKind::permanent, "{}: label {} of sample {}, but model '{}' has the classes 0 to {}",
                split.labels_name, int{*bad}, bad - split.labels.begin(), info.name, info.classes - 1);
  }
  return {};
}

torch::Tensor loss_of(const std::string& loss, const torch::Tensor& outputs, const torch::Tensor& labels) {
  if (loss == "mse") {
    return torch::mse_loss(outputs, torch::one_hot(labels, outputs.size(1)).to(torch::kFloat32));
  }
  return torch::cross_entropy_loss(outputs, labels);
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const TrainingPlan& plan, Net& net) {
  if (plan.optimizer == "adam") {
    return std::make_unique<torch::optim::Adam>(
        net.parameters(), torch::optim::AdamOptions(plan.learning_rate).weight_decay(plan.weight_decay));
  }
  return std::make_unique<torch::optim::SGD>(
      net.parameters(),
      torch::optim::SGDOptions(plan.learning_rate).momentum(plan.momentum).weight_decay(plan.weight_decay));
}

// Everything that determines what a training ends in, beside the base model, control variates and the samples' values.
Digest job_digest(const tensor::Layout& layout, const Split& split, const TrainingPlan& plan, std::uint64_t seed) {
  return crypto::sha256(fmt::format("{}/{}/{}/{}/{}/{}/{}/{}/{}/{}/{}/{}", layout.id().hex(), split.count, plan.epochs,
                                    plan.steps, plan.batch, plan.optimizer, plan.learning_rate, plan.momentum,
                                    plan.weight_decay, plan.proximal, plan.loss, seed));
}

std::uint64_t batches_of(const TrainingPlan& plan, const Batcher& batcher) {
  return plan.steps > 0 ? static_cast<std::uint64_t>(plan.steps)
                        : static_cast<std::uint64_t>(plan.epochs) * batcher.batches();
}

// One training, from its start or from a checkpoint.
class Training {
 public:
  Training(Model& model, const Split& split, const TrainingPlan& plan, std::uint64_t seed,
           const ControlVariates& variates)
      : net_(*model.parts().net),
        split_(split),
        plan_(plan),
        seed_(seed),
        optimizer_(make_optimizer(plan, net_)),
        batcher_(split, plan.batch, model.parts().device),
        correction_(model.parts(), plan, variates),
        total_(batches_of(plan, batcher_)),
        job_(job_digest(model.layout(), split, plan, seed)),
        snapshot_(model.parts(), *optimizer_, job_, position_) {}

  Result<> resume(std::span<const std::byte> checkpoint) {
    auto position = snapshot_.restore(checkpoint, total_);
    if (!position) {
      return fail(position.error());
    }
    position_ = *position;
    return {};
  }

  Result<TrainingOutcome> run(const OnTrainingBatch& on_batch) {
    const double before = position_.seconds;
    const SteadyTime start = SystemClock().steady();
    TrainingOutcome outcome{split_.count, 0, 0, position_.done, total_};
    std::vector<std::uint32_t> order;
    while (position_.done < total_) {
      const std::uint64_t epoch = position_.done / batcher_.batches();
      const std::uint64_t n = position_.done % batcher_.batches();
      if (order.empty() || n == 0) {
        order = shuffled(split_.count, seed_, epoch);
      }
      position_.seconds = before + Seconds(SystemClock().steady() - start).count();
      if (auto go_on = on_batch(position_.done, total_, snapshot_); !go_on) {
        return fail(go_on.error());
      }
      const auto loss = step(batcher_.gather(order, n));
      if (!std::isfinite(loss)) {
        return fail(ErrorKind::permanent,
                    "training diverged: the loss is {} in batch {} of epoch {}; a smaller learning rate helps", loss,
                    n + 1, epoch + 1);
      }
      position_.loss = n == 0 ? loss : position_.loss + loss;
      ++position_.done;
    }
    outcome.loss = position_.loss / static_cast<double>(seen_of_last_epoch());
    correction_.finish(total_);
    outcome.seconds = before + Seconds(SystemClock().steady() - start).count();
    if (auto go_on = on_batch(total_, total_, snapshot_); !go_on) {
      return fail(go_on.error());
    }
    return outcome;
  }

 private:
  // The sum of the samples' losses. One that is not finite changes nothing.
  double step(const Batch& batch) {
    optimizer_->zero_grad();
    const torch::Tensor loss = loss_of(plan_.loss, net_.forward(batch.images), batch.labels);
    const auto value = double{loss.item<float>()};
    if (std::isfinite(value)) {
      loss.backward();
      correction_.apply();
      optimizer_->step();
    }
    return value * static_cast<double>(batch.labels.size(0));
  }

  // Samples that position_.loss is of: with a number of steps the last epoch may end early.
  [[nodiscard]] std::uint64_t seen_of_last_epoch() const {
    const std::uint64_t batches = total_ % batcher_.batches();
    return batches == 0 ? split_.count : batches * batcher_.capacity();
  }

  Net& net_;
  const Split& split_;
  const TrainingPlan& plan_;
  std::uint64_t seed_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  Batcher batcher_;
  Correction correction_;  // made before a checkpoint is loaded: it is relative to the base model
  std::uint64_t total_;
  Digest job_;
  Position position_;
  TrainingSnapshot snapshot_;
};

// Sums of one batch.
struct Tally {
  double loss = 0;
  std::int64_t correct = 0;
};
Tally measure(Net& net, const std::string& loss, const Batch& batch) {
  const torch::Tensor outputs = net.forward(batch.images);
  const auto mean = double{loss_of(loss, outputs, batch.labels).item<float>()};
  return {mean * static_cast<double>(batch.labels.size(0)),
          outputs.argmax(1).eq(batch.labels).sum().item<std::int64_t>()};
}

}  // namespace

void configure_runtime(int threads) {
  const int wanted = threads > 0 ? threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  at::set_num_threads(wanted);
  at::globalContext().setDeterministicAlgorithms(true, false);
  // OpenBLAS has a pool of its own, that LibTorch does not know of. Another BLAS does not have this function.
  using SetThreads = void (*)(int);
  if (void* found = ::dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<SetThreads>(found)(wanted);
  }
}

Result<TrainingOutcome> train(Model& model, const Split& split, const TrainingPlan& plan, std::uint64_t seed,
                              const OnTrainingBatch& on_batch, std::span<const std::byte> resume,
                              const ControlVariates& variates) {
  for (const auto& checked :
       {check_plan(plan), check_fits(split, model.info()), check_variates(variates, plan, model.layout())}) {
    if (!checked) {
      return fail(checked.error());
    }
  }
  return guarded("training", [&]() -> Result<TrainingOutcome> {
    Net& net = *model.parts().net;
    net.random().set_current_seed(seed);  // whatever a warm worker did before must not matter
    net.train();
    Training training(model, split, plan, seed, variates);
    if (auto resumed = resume.empty() ? Result<>() : training.resume(resume); !resumed) {
      return fail(resumed.error());
    }
    return training.run(on_batch);
  });
}

Result<EvaluationOutcome> evaluate(Model& model, const Split& split, const std::string& loss, std::int64_t batch,
                                   const OnBatch& on_batch) {
  for (const auto& checked : {check_loss(loss), check_batch(batch), check_fits(split, model.info())}) {
    if (!checked) {
      return fail(checked.error());
    }
  }
  return guarded("evaluating", [&]() -> Result<EvaluationOutcome> {
    const torch::NoGradGuard no_grad;
    Net& net = *model.parts().net;
    net.eval();
    Batcher batcher(split, batch, model.parts().device);
    std::vector<std::uint32_t> order(split.count);
    std::iota(order.begin(), order.end(), 0U);
    Tally sum;
    for (std::uint64_t n = 0; n < batcher.batches(); ++n) {
      if (auto go_on = on_batch(n, batcher.batches()); !go_on) {
        return fail(go_on.error());
      }
      const Tally tally = measure(net, loss, batcher.gather(order, n));
      sum.loss += tally.loss;
      sum.correct += tally.correct;
    }
    if (!std::isfinite(sum.loss)) {
      return fail(ErrorKind::permanent, "the model has diverged: its loss on {} is {}", split.samples_name, sum.loss);
    }
    if (auto go_on = on_batch(batcher.batches(), batcher.batches()); !go_on) {
      return fail(go_on.error());
    }
    return EvaluationOutcome{split.count, sum.loss / split.count, static_cast<double>(sum.correct) / split.count};
  });
}

}  // namespace flops::models
