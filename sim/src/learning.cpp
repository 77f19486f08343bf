#include "learning.hpp"

#include <cerrno>

#include <fcntl.h>

#include "flops/core/fd.hpp"
#include "flops/core/io.hpp"
#include "flops/tensor/codec.hpp"

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

Result<models::Model*> Learning::with(std::span<const float> values) {
  if (!model_) {
    auto model = models::Model::create(name_, 0);
    if (!model) {
      return fail(model.error());
    }
    model_ = *std::move(model);
  }
  if (auto loaded = model_->load(values); !loaded) {
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
  const auto outcome =
      models::train(**model, population_->train_split(task.learner), task.plan, task.seed, [&](auto&&...) -> Result<> {
        return task.cancelled->load() ? fail(ErrorKind::cancelled, "nobody needs the update any more") : Result<>();
      });
  if (!outcome) {
    return fail(outcome.error());
  }
  std::vector<float> values(task.base->size());
  if (auto stored = (*model)->store(values); !stored) {
    return fail(stored.error());
  }
  auto bytes = encode_into(task.into, values, tensor::from_memory(*task.base));
  if (!bytes) {
    return fail(bytes.error());
  }
  result.samples = outcome->samples;
  result.steps = outcome->steps;
  result.train_loss = outcome->loss;
  result.update_bytes = *bytes;
  return result;
}

Result<tensor::Layout> make_initial(const std::string& name, std::uint64_t seed, const std::filesystem::path& into,
                                    std::uint64_t& bytes) {
  const auto model = models::Model::create(name, seed);
  if (!model) {
    return fail(model.error());
  }
  std::vector<float> values(model->layout().parameters());
  if (auto stored = model->store(values); !stored) {
    return fail(stored.error());
  }
  auto written = encode_into(into, values, tensor::zeros());
  if (!written) {
    return fail(written.error());
  }
  bytes = *written;
  return model->layout();
}

}  // namespace flops::sim
