#include "learning.hpp"

#include <cerrno>

#include <fcntl.h>

#include "flops/core/fd.hpp"
#include "flops/core/io.hpp"
#include "flops/tensor/codec.hpp"
#include "flops/tensor/control_variates.hpp"

namespace flops::sim {
namespace {

constexpr std::int64_t evaluation_batch = 500;

const auto go_on = [](auto&&...) { return Result<>(); };

// As a device encodes it; into a file of this simulation. Returns its size.
Result<std::uint64_t> encode_into(const std::filesystem::path& file, std::span<const float> values,
                                  const tensor::FloatSource& base) {
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", file.string())));
  }
  std::uint64_t bytes = 0;
  auto encoded = tensor::encode(tensor::Codec::lossless, values.size(), tensor::from_memory(values), base,
                                [&](std::span<const std::byte> block) {
                                  bytes += block.size();
                                  return write_all(fd.get(), block);
                                });
  return encoded ? Result<std::uint64_t>(bytes) : fail(encoded.error(), "encoding an update");
}

}  // namespace

// The model's parameters come first in what travels.
Result<models::Model*> Learning::with(std::span<const float> travelling) {
  if (!model_) {
    auto model = models::Model::create(name_, 0);
    if (!model) {
      return fail(model.error());
    }
    model_ = *std::move(model);
  }
  const std::size_t parameters = model_->layout().parameters();
  if (auto loaded = model_->load(travelling.first(std::min(parameters, travelling.size()))); !loaded) {
    return fail(loaded.error());
  }
  return &*model_;
}

Result<Measurement> Learning::measure(std::span<const float> values, const models::Split& split,
                                      const models::TrainingPlan& plan) {
  auto model = with(values);
  if (!model) {
    return fail(model.error());
  }
  const auto outcome = models::evaluate(**model, split, plan.loss, evaluation_batch, go_on);
  return outcome ? Result<Measurement>(Measurement{outcome->loss, outcome->accuracy, outcome->samples})
                 : fail(outcome.error());
}

Result<LearningResult> Learning::run(const LearningTask& task) {
  LearningResult result;
  if (task.cancelled->load()) {
    return result;
  }
  if (task.evaluate) {
    auto measured = measure(*task.base, population_->test_split(task.learner), task.plan);
    if (!measured) {
      return fail(measured.error());
    }
    result.measured = *measured;
  }
  if (!task.train) {
    return result;
  }
  auto model = with(*task.base);
  if (!model) {
    return fail(model.error());
  }
  auto values = train(**model, task, result);
  if (!values) {
    return fail(values.error());
  }
  auto bytes = encode_into(task.into, *values, tensor::from_memory(*task.base));
  if (!bytes) {
    return fail(bytes.error());
  }
  result.update_bytes = *bytes;
  return result;
}

// Returns what travels back.
Result<std::vector<float>> Learning::train(models::Model& model, const LearningTask& task,
                                           LearningResult& result) const {
  const std::size_t parameters = model.layout().parameters();
  const std::vector<float> before = task.variate ? *task.variate : std::vector<float>(parameters);
  std::vector<float> after = before;
  models::ControlVariates variates;
  if (task.control_variates) {
    variates = {std::span(*task.base).subspan(parameters), after};
  }
  const auto go_on_unless_cancelled = [&](auto&&...) -> Result<> {
    return task.cancelled->load() ? fail(ErrorKind::cancelled, "nobody needs the update any more") : Result<>();
  };
  const auto outcome = models::train(model, population_->train_split(task.learner), task.plan, task.seed,
                                     go_on_unless_cancelled, {}, variates);
  if (!outcome) {
    return fail(outcome.error());
  }
  std::vector<float> values(task.base->size());
  if (auto stored = model.store(std::span(values).first(parameters)); !stored) {
    return fail(stored.error());
  }
  if (task.control_variates) {
    tensor::variate_to_return(variates.server, before, after, std::span(values).subspan(parameters));
    result.variate = std::make_shared<const std::vector<float>>(std::move(after));
  }
  result.samples = outcome->samples;
  result.steps = outcome->steps;
  result.train_loss = outcome->loss;
  return values;
}

Result<InitialModel> make_initial(const std::string& name, bool control_variates, std::uint64_t seed,
                                  const std::filesystem::path& into) {
  const auto model = models::Model::create(name, seed);
  if (!model) {
    return fail(model.error());
  }
  auto layout = control_variates ? tensor::with_variates(model->layout()) : Result<tensor::Layout>(model->layout());
  if (!layout) {
    return fail(layout.error());
  }
  std::vector<float> values(layout->parameters());
  if (auto stored = model->store(std::span(values).first(model->layout().parameters())); !stored) {
    return fail(stored.error());
  }
  auto written = encode_into(into, values, tensor::zeros());
  if (!written) {
    return fail(written.error());
  }
  return InitialModel{*std::move(layout), *written};
}

}  // namespace flops::sim
