#include "stepper.hpp"

#include <algorithm>
#include <cmath>

namespace flops::aggregation {
namespace {

// The tensors that the elements from `offset` on lie in.
std::span<const tensor::TensorSpec> tensors_from(const tensor::Layout& layout, std::uint64_t offset) {
  const auto& tensors = layout.tensors();
  const auto after = std::ranges::upper_bound(tensors, offset, {}, &tensor::TensorSpec::offset);
  return std::span(tensors).subspan(static_cast<std::size_t>(after - tensors.begin()) - 1);
}

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace

Result<Stepper> Stepper::open(const ModelFolder& models, const tensor::SafetensorsFile& base, const ServerStep& step,
                              const algorithms::Totals& totals) {
  auto model = ModelWriter::open(models, base.layout);
  if (!model) {
    return fail(model.error());
  }
  const algorithms::RoundFacts facts{totals, step.population, step.algorithm->model_parameters(base.layout)};
  Stepper stepper(base, *step.algorithm, facts, *std::move(model));
  if (auto opened = stepper.open_states(models, step.state); !opened) {
    return fail(opened.error());
  }
  return stepper;
}

Result<> Stepper::open_states(const ModelFolder& models, const Digest& old) {
  if (states() == 0) {
    return {};
  }
  auto layout = state_layout(base_->layout, states());
  if (!layout) {
    return fail(layout.error());
  }
  if (!old.empty()) {
    auto opened = tensor::open_safetensors(models.state_path_of(old));
    if (!opened) {
      return fail(opened.error(), "the algorithm's state");
    }
    if (opened->layout != *layout) {
      return fail(ErrorKind::corrupt, "the algorithm's state {} has another layout than the model with {} vectors",
                  models.state_path_of(old).string(), states());
    }
    old_ = *std::move(opened);
  }
  auto writer = StateWriter::open(models, *layout, states());
  if (!writer) {
    return fail(writer.error());
  }
  new_.emplace(*std::move(writer));
  return {};
}

Result<> Stepper::read(std::uint64_t offset, std::size_t count) {
  from_.resize(count);
  next_.resize(count);
  if (auto read = base_->values()(offset, from_); !read) {
    return fail(read.error(), "the base model");
  }
  for (std::size_t k = 0; k < states(); ++k) {
    state_[k].assign(count, 0.0F);
    if (!old_) {
      continue;
    }
    if (auto read = old_->values()(k * base_->layout.parameters() + offset, state_[k]); !read) {
      return fail(read.error(), "the algorithm's state");
    }
  }
  return {};
}

void Stepper::step_tensor(const tensor::TensorSpec& tensor, std::uint64_t offset, std::span<const float> mean) {
  const std::uint64_t begin = std::max(tensor.offset, offset);
  const std::uint64_t end = std::min(tensor.offset + tensor.count, offset + mean.size());
  const auto first = static_cast<std::size_t>(begin - offset);
  const auto count = static_cast<std::size_t>(end - begin);
  const auto part = [&](std::vector<float>& values) { return std::span(values).subspan(first, count); };
  if (algorithms::is_statistic(tensor.name)) {
    std::ranges::copy(mean.subspan(first, count), part(next_).begin());
    return;
  }
  algorithms::Block block{begin, part(from_), mean.subspan(first, count), part(next_), {}};
  for (std::size_t k = 0; k < states(); ++k) {
    block.state[k] = part(state_[k]);
  }
  algorithm_->step(block, facts_);
}

Result<> Stepper::check(std::uint64_t offset) const {
  const bool good = all_finite(next_) && std::ranges::all_of(std::span(state_).first(states()), all_finite);
  return good ? Result<>()
              : fail(ErrorKind::permanent,
                     "the server's step leaves the range of float32 among the {} values from {} on: choose a smaller "
                     "learning rate",
                     next_.size(), offset);
}

Result<> Stepper::take(std::uint64_t offset, std::span<const float> mean) {
  if (auto done = read(offset, mean.size()); !done) {
    return done;
  }
  for (const tensor::TensorSpec& tensor : tensors_from(base_->layout, offset)) {
    if (tensor.offset >= offset + mean.size()) {
      break;
    }
    step_tensor(tensor, offset, mean);
  }
  if (auto checked = check(offset); !checked) {
    return checked;
  }
  for (std::size_t k = 0; k < states(); ++k) {
    if (auto written = new_->append(k, state_[k]); !written) {
      return written;
    }
  }
  return model_.append(next_);
}

Result<NewModel> Stepper::finish() {
  Digest state;
  if (new_) {
    auto stored = new_->finish();
    if (!stored) {
      return fail(stored.error());
    }
    state = *stored;
  }
  auto model = model_.finish();
  if (model) {
    model->state = state;
  }
  return model;
}

}  // namespace flops::aggregation
