#include "flops/tensor/accumulator.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <stdexcept>

#include "fixed_point.hpp"

namespace flops::tensor {
namespace {

// Calls `visit(tensor index, part of values, its offset)` for each tensor that the span touches; stops when it says so.
template <class Float, class Visit>
Result<> for_each_tensor(const Layout& layout, std::uint64_t offset, std::span<Float> values, Visit visit) {
  const auto& tensors = layout.tensors();
  const auto after = std::ranges::upper_bound(tensors, offset, {}, &TensorSpec::offset);
  auto index = static_cast<std::size_t>(after - tensors.begin()) - 1;
  while (!values.empty()) {
    const TensorSpec& tensor = tensors[index];
    const std::uint64_t size = std::min<std::uint64_t>(values.size(), tensor.offset + tensor.count - offset);
    if (Result<> visited = visit(index, values.first(size), offset); !visited) {
      return visited;
    }
    offset += size;
    values = values.subspan(size);
    ++index;
  }
  return {};
}

Result<> check_values(const Layout& layout, const Scales& scales, std::uint64_t offset, std::span<const float> values,
                      std::uint32_t weight) {
  if (weight == 0 || weight > max_total_weight) {
    return fail(ErrorKind::permanent, "update refused: weight {} is not between 1 and {}", weight, max_total_weight);
  }
  if (offset > layout.parameters() || values.size() > layout.parameters() - offset) {
    return fail(ErrorKind::permanent, "update refused: {} values at {} do not fit into {}", values.size(), offset,
                layout.parameters());
  }
  return for_each_tensor(layout, offset, values,
                         [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
                           const std::size_t bad = first_out_of_range(part, scales[tensor]);
                           if (bad == part.size()) {
                             return {};
                           }
                           const TensorSpec& spec = layout.tensors()[tensor];
                           return fail(ErrorKind::permanent, "update refused: {}[{}] = {} is outside ±2^{}", spec.name,
                                       at - spec.offset + bad, part[bad], scales[tensor]);
                         });
}

// The part of a step that lies in one tensor: `part` of step.to, which begins at element `offset`.
Step part_of(const Step& step, std::uint64_t offset, std::span<const float> part, std::uint64_t at) {
  const auto first = static_cast<std::size_t>(at - offset);
  return {step.from.subspan(first, part.size()), part, step.now.subspan(first, part.size())};
}

Result<> check_step(const Layout& layout, const Scales& scales, std::uint64_t offset, const Step& step,
                    std::uint32_t weight) {
  if (step.from.size() != step.to.size() || step.now.size() != step.to.size()) {
    return fail(ErrorKind::bug, "a step of {}, {} and {} values", step.from.size(), step.to.size(), step.now.size());
  }
  for (const std::span<const float> values : {step.from, step.to, step.now}) {
    if (auto checked = check_values(layout, scales, offset, values, weight); !checked) {
      return checked;
    }
  }
  return for_each_tensor(
      layout, offset, step.to, [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
        const std::size_t bad = first_step_out_of_range(part_of(step, offset, part, at), scales[tensor]);
        if (bad == part.size()) {
          return {};
        }
        const TensorSpec& spec = layout.tensors()[tensor];
        return fail(ErrorKind::permanent, "update refused: its step takes {}[{}] outside ±2^{}", spec.name,
                    at - spec.offset + bad, scales[tensor]);
      });
}

}  // namespace

Result<Scales> choose_scales(const Layout& layout, const FloatSource& base) {
  constexpr int room = 8;
  constexpr int smallest = 4;
  Scales scales;
  std::vector<float> block(std::min(layout.parameters(), block_elements));
  for (const TensorSpec& tensor : layout.tensors()) {
    float largest = 0.0F;
    for (std::uint64_t done = 0; done < tensor.count; done += block_elements) {
      const auto part = std::span(block).first(std::min<std::uint64_t>(block_elements, tensor.count - done));
      if (auto read = base(tensor.offset + done, part); !read) {
        return fail(read.error());
      }
      for (std::size_t i = 0; i < part.size(); ++i) {
        if (!std::isfinite(part[i])) {
          return fail(ErrorKind::corrupt, "the base model has {}[{}] = {}", tensor.name, done + i, part[i]);
        }
        largest = std::max(largest, std::fabs(part[i]));
      }
    }
    int exponent = smallest - room;
    if (largest > 0) {
      static_cast<void>(std::frexp(largest, &exponent));  // largest < 2^exponent
    }
    scales.push_back(std::clamp(exponent + room, smallest, max_scale));
  }
  return scales;
}

Accumulator::Accumulator(Layout layout, Scales scales)
    : layout_(std::move(layout)),
      scales_(std::move(scales)),
      high_(static_cast<std::size_t>(layout_.parameters())),
      low_(static_cast<std::size_t>(layout_.parameters())) {}

Result<Accumulator> Accumulator::create(const Layout& layout, Scales scales) {
  if (scales.size() != layout.tensors().size()) {
    return fail(ErrorKind::permanent, "{} scales for {} tensors", scales.size(), layout.tensors().size());
  }
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (scales[i] < min_scale || scales[i] > max_scale) {
      return fail(ErrorKind::permanent, "the scale of {} is {}, not between {} and {}", layout.tensors()[i].name,
                  scales[i], min_scale, max_scale);
    }
  }
  try {
    return Accumulator(layout, std::move(scales));
  } catch (const std::bad_alloc&) {
    return fail(ErrorKind::resource, "no memory for an accumulator of {} parameters", layout.parameters());
  }
}

Result<> Accumulator::add(std::uint64_t offset, std::span<const float> values, std::uint32_t weight) {
  if (auto checked = check_values(layout_, scales_, offset, values, weight); !checked) {
    return checked;
  }
  return for_each_tensor(layout_, offset, values,
                         [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
                           add_scaled(part, scales_[tensor], weight, false, high_.data() + at, low_.data() + at);
                           return {};
                         });
}

void Accumulator::subtract(std::uint64_t offset, std::span<const float> values, std::uint32_t weight) {
  if (!check_values(layout_, scales_, offset, values, weight)) {
    return;
  }
  static_cast<void>(for_each_tensor(
      layout_, offset, values, [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
        add_scaled(part, scales_[tensor], weight, true, high_.data() + at, low_.data() + at);
        return {};
      }));
}

Result<> Accumulator::add_step(std::uint64_t offset, const Step& step, std::uint32_t weight) {
  if (auto checked = check_step(layout_, scales_, offset, step, weight); !checked) {
    return checked;
  }
  return for_each_tensor(layout_, offset, step.to,
                         [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
                           add_scaled_step(part_of(step, offset, part, at), scales_[tensor], weight, false,
                                           high_.data() + at, low_.data() + at);
                           return {};
                         });
}

void Accumulator::subtract_step(std::uint64_t offset, const Step& step, std::uint32_t weight) {
  if (!check_step(layout_, scales_, offset, step, weight)) {
    return;
  }
  static_cast<void>(for_each_tensor(layout_, offset, step.to,
                                    [&](std::size_t tensor, std::span<const float> part, std::uint64_t at) -> Result<> {
                                      add_scaled_step(part_of(step, offset, part, at), scales_[tensor], weight, true,
                                                      high_.data() + at, low_.data() + at);
                                      return {};
                                    }));
}

Result<> Accumulator::merge(const Accumulator& other) {
  if (layout_ != other.layout_ || scales_ != other.scales_) {
    return fail(ErrorKind::permanent, "partial sum refused: it has another layout or other scales");
  }
  if (other.total_weight_ > max_total_weight - total_weight_) {
    return fail(ErrorKind::permanent, "partial sum refused: weights {} and {} together pass {}", total_weight_,
                other.total_weight_, max_total_weight);
  }
  add_limbs(high_.size(), other.high_.data(), other.low_.data(), high_.data(), low_.data());
  total_weight_ += other.total_weight_;
  return {};
}

Result<> Accumulator::multiply(std::uint64_t factor) {
  if (factor == 0 || factor > max_total_weight || total_weight_ > max_total_weight / factor) {
    return fail(ErrorKind::permanent, "a total weight of {} times {} is 0 or passes {}", total_weight_, factor,
                max_total_weight);
  }
  if (factor > 1) {
    multiply_limbs(high_.size(), static_cast<std::uint32_t>(factor), high_.data(), low_.data());
  }
  total_weight_ *= factor;
  return {};
}

Result<> Accumulator::mean(const FloatSink& out) const {
  if (total_weight_ == 0 || total_weight_ > max_total_weight) {
    return fail(ErrorKind::bug, "a mean over a total weight of {}", total_weight_);
  }
  const Divisor weight(static_cast<std::uint32_t>(total_weight_));
  std::vector<float> block(std::min(layout_.parameters(), block_elements));
  for (std::uint64_t offset = 0; offset < layout_.parameters(); offset += block_elements) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(block_elements, layout_.parameters() - offset));
    static_cast<void>(for_each_tensor(layout_, offset, part,
                                      [&](std::size_t tensor, std::span<float> values, std::uint64_t at) -> Result<> {
                                        divide(high_.data() + at, low_.data() + at, weight, scales_[tensor], values);
                                        return {};
                                      }));
    if (auto written = out(offset, part); !written) {
      return written;
    }
  }
  return {};
}

}  // namespace flops::tensor
