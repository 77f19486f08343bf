#include "flops/aggregation/round_sum.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <optional>

#include <fcntl.h>

#include "flops/core/fd.hpp"
#include "model_writer.hpp"
#include "stepper.hpp"

namespace flops::aggregation {
namespace {

Result<Fd> open_update(const StoredUpdate& update) {
  Fd fd(::open(update.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("opening the stored update {}", update.file.string())));
  }
  return fd;
}

// Decodes the update on top of `base` and hands its values to `sink`.
Result<> decode_update(const StoredUpdate& update, std::uint64_t count, const tensor::FloatSource& base,
                       const tensor::FloatSink& sink) {
  auto fd = open_update(update);
  if (!fd) {
    return fail(fd.error());
  }
  return tensor::decode(count, update.bytes, tensor::bytes_of_file(fd->get(), update.bytes), base, sink);
}

// The values of a model file, block by block.
Result<> copy(const tensor::SafetensorsFile& file, const tensor::FloatSink& sink) {
  const tensor::FloatSource source = file.values();
  std::vector<float> block(tensor::block_elements);
  for (std::uint64_t offset = 0; offset < file.layout.parameters(); offset += block.size()) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), file.layout.parameters() - offset));
    if (auto read = source(offset, part); !read) {
      return read;
    }
    if (auto taken = sink(offset, part); !taken) {
      return taken;
    }
  }
  return {};
}

// The blocks of one contribution on their way into a sum, and out of it when the update turns out to be bad.
class Decoded {
 public:
  Decoded(const tensor::SafetensorsFile& base, const tensor::SafetensorsFile* older, tensor::Accumulator& sum,
          std::uint32_t weight)
      : base_(base.values()), sum_(sum), weight_(weight) {
    if (older != nullptr) {
      older_ = older->values();
    }
  }

  [[nodiscard]] Result<> add(std::uint64_t offset, std::span<const float> values) {
    if (!older_) {
      return sum_.add(offset, values, weight_);
    }
    auto read = read_step(offset, values);
    return read ? sum_.add_step(offset, step_, weight_) : read;
  }

  [[nodiscard]] Result<> subtract(std::uint64_t offset, std::span<const float> values) {
    if (!older_) {
      sum_.subtract(offset, values, weight_);
      return {};
    }
    auto read = read_step(offset, values);
    if (read) {
      sum_.subtract_step(offset, step_, weight_);
    }
    return read;
  }

 private:
  Result<> read_step(std::uint64_t offset, std::span<const float> values) {
    from_.resize(values.size());
    now_.resize(values.size());
    if (auto read = older_(offset, from_); !read) {
      return read;
    }
    step_ = {from_, values, now_};
    return base_(offset, now_);
  }

  tensor::FloatSource base_;
  tensor::FloatSource older_;  // none: the update was made from the base
  tensor::Accumulator& sum_;
  std::uint32_t weight_;
  std::vector<float> from_, now_;
  tensor::Step step_;
};

}  // namespace

Result<std::unique_ptr<RoundSum>> RoundSum::open(const ModelFolder& models, const Digest& base) {
  auto file = models.open(base);
  if (!file) {
    return fail(file.error(), "opening the base model");
  }
  auto scales = tensor::choose_scales(file->layout, file->values());
  if (!scales) {
    return fail(scales.error(), "choosing the scales of the round");
  }
  auto sum = tensor::Accumulator::create(file->layout, *std::move(scales));
  if (!sum) {
    return fail(sum.error());
  }
  return std::unique_ptr<RoundSum>(new RoundSum(models, base, *std::move(file), *std::move(sum)));
}

Result<> RoundSum::add(const StoredUpdate& update, const algorithms::Contribution& work, std::uint64_t weight) {
  if (update.sum) {
    return add_sum(update, work, weight);
  }
  const std::uint64_t count = base_.layout.parameters();
  return add_counted([&](const tensor::FloatSource& from,
                         const tensor::FloatSink& sink) { return decode_update(update, count, from, sink); },
                     update.base, work, weight);
}

Result<> RoundSum::add_model(const Digest& model, const Digest& base, const algorithms::Contribution& work,
                             std::uint64_t weight) {
  auto file = models_.open(model);
  if (!file) {
    return fail(file.error(), "opening a cluster's model");
  }
  if (file->layout != base_.layout) {
    return fail(ErrorKind::bug, "a cluster's model has another layout");
  }
  return add_counted([&](const tensor::FloatSource&, const tensor::FloatSink& sink) { return copy(*file, sink); }, base,
                     work, weight);
}

Result<> RoundSum::merge(const RoundSum& cluster) {
  if (cluster.digest_ != digest_) {
    return fail(ErrorKind::bug, "a cluster's sum is of the base {}, not {}", cluster.digest_.short_hex(),
                digest_.short_hex());
  }
  return merge_counted(cluster.sum_, cluster.totals_);
}

Result<> RoundSum::merge_counted(const tensor::Accumulator& other, const algorithms::Totals& work) {
  algorithms::Totals totals = totals_;
  if (auto counted = totals.merge(work); !counted) {
    return counted;
  }
  auto merged = sum_.merge(other);
  if (merged) {
    totals_ = totals;
  }
  return merged;
}

Result<> RoundSum::add_sum(const StoredUpdate& update, const algorithms::Contribution& work, std::uint64_t weight) {
  if (auto checked = check_weight(weight); !checked) {
    return checked;
  }
  auto sum = read_sum(update, work.samples);
  if (!sum) {
    return fail(sum.error());
  }
  if (!is_current(update.base) || weight % work.samples != 0) {
    return add_counted([&sum](const tensor::FloatSource&, const tensor::FloatSink& sink) { return sum->mean(sink); },
                       update.base, work, weight);
  }
  algorithms::Totals one;
  if (auto counted = one.add(work); !counted) {
    return counted;
  }
  auto weighed = sum->multiply(weight / work.samples);
  return weighed ? merge_counted(*sum, one) : weighed;
}

// Its scales follow from the model that it was made from.
Result<tensor::Accumulator> RoundSum::read_sum(const StoredUpdate& update, std::uint64_t samples) const {
  tensor::Scales scales = sum_.scales();
  if (!is_current(update.base)) {
    auto older = open_older(update.base);
    auto chosen = older ? tensor::choose_scales(older->layout, older->values()) : fail(older.error());
    if (!chosen) {
      return fail(ErrorKind::transient, "choosing the scales of a late sum: {}", chosen.error().what);
    }
    scales = *std::move(chosen);
  }
  auto fd = open_update(update);
  if (!fd) {
    return fail(fd.error());
  }
  auto sum =
      tensor::Accumulator::read(base_.layout, scales, update.bytes, tensor::bytes_of_file(fd->get(), update.bytes));
  if (sum && sum->total_weight() != samples) {
    return fail(ErrorKind::permanent, "the partial sum has the total weight {}, its sender said {}",
                sum->total_weight(), samples);
  }
  return sum;
}

Result<> RoundSum::add_counted(const Values& values, const Digest& base, const algorithms::Contribution& work,
                               std::uint64_t weight) {
  algorithms::Totals totals = totals_;
  if (auto counted = totals.add(work); !counted) {
    return counted;
  }
  auto added = add_weighted(values, base, weight);
  if (added) {
    totals_ = totals;
  }
  return added;
}

Result<> RoundSum::add_weighted(const Values& values, const Digest& base, std::uint64_t weight) {
  if (auto checked = check_weight(weight); !checked) {
    return checked;
  }
  if (is_current(base)) {
    return add_from(nullptr, values, static_cast<std::uint32_t>(weight));
  }
  auto older = open_older(base);
  return older ? add_from(&*older, values, static_cast<std::uint32_t>(weight)) : fail(older.error());
}

Result<> RoundSum::check_weight(std::uint64_t weight) const {
  if (weight > tensor::max_total_weight || !sum_.fits(static_cast<std::uint32_t>(weight))) {
    return fail(ErrorKind::permanent, "the weight {} is 0, or the round's total would pass {}", weight,
                tensor::max_total_weight);
  }
  return {};
}

Result<tensor::SafetensorsFile> RoundSum::open_older(const Digest& base) const {
  auto older = models_.open(base);
  if (!older) {
    // The update may well be good.
    return fail(ErrorKind::transient, "opening the model that a late update was made from: {}", older.error().what);
  }
  if (older->layout != base_.layout) {
    return fail(ErrorKind::bug, "a late update was made from a model of another layout");
  }
  return older;
}

Result<> RoundSum::add_from(const tensor::SafetensorsFile* older, const Values& values, std::uint32_t weight) {
  Decoded blocks(base_, older, sum_, weight);
  std::uint64_t added = 0;
  const tensor::FloatSource from = older != nullptr ? older->values() : base_.values();
  auto done = values(from, [&](std::uint64_t offset, std::span<const float> block) -> Result<> {
    auto result = blocks.add(offset, block);
    if (result) {
      added = offset + block.size();
    }
    return result;
  });
  if (done) {
    sum_.count(weight);
    return {};
  }
  // Integer sums can be taken apart again: subtract exactly what went in.
  std::uint64_t left = added;
  auto undone = values(from, [&](std::uint64_t, std::span<const float> block) -> Result<> {
    const std::size_t n = std::min<std::uint64_t>(block.size(), left);
    if (auto result = blocks.subtract(added - left, block.first(n)); !result) {
      return result;
    }
    left -= n;
    return left > 0 ? Result<>() : fail(ErrorKind::cancelled, "all taken out");
  });
  if (left > 0) {
    return fail(ErrorKind::bug, "a refused update could not be taken out of the sum again: {}",
                undone ? "it ended early" : undone.error().what);
  }
  return done;
}

Result<NewModel> RoundSum::close(const ModelFolder& models) const {
  if (sum_.total_weight() == 0) {
    return fail(ErrorKind::permanent, "the round has no updates");
  }
  auto writer = ModelWriter::open(models, base_.layout);
  if (!writer) {
    return fail(writer.error());
  }
  auto written = sum_.mean([&](std::uint64_t, std::span<const float> values) { return writer->append(values); });
  if (!written) {
    return fail(written.error(), "making the mean");
  }
  return writer->finish();
}

Result<NewModel> RoundSum::close(const ModelFolder& models, const ServerStep& step) const {
  if (step.algorithm == nullptr || step.algorithm->is_plain_mean() || sum_.total_weight() == 0) {
    return close(models);
  }
  auto stepper = Stepper::open(models, base_, step, totals_);
  if (!stepper) {
    return fail(stepper.error());
  }
  auto made = sum_.mean([&](std::uint64_t offset, std::span<const float> mean) { return stepper->take(offset, mean); });
  if (!made) {
    return fail(made.error(), "making the step from the mean");
  }
  return stepper->finish();
}

Result<NewModel> store_initial_model(const ModelFolder& models, const tensor::Layout& layout,
                                     const StoredUpdate& update) {
  auto writer = ModelWriter::open(models, layout);
  if (!writer) {
    return fail(writer.error());
  }
  auto decoded = decode_update(update, layout.parameters(), tensor::zeros(),
                               [&](std::uint64_t, std::span<const float> values) -> Result<> {
                                 if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
                                   return fail(ErrorKind::permanent, "the initial model has NaN or infinite values");
                                 }
                                 return writer->append(values);
                               });
  if (!decoded) {
    return fail(decoded.error());
  }
  return writer->finish();
}

Result<EncodedModel> encode_model(const ModelFolder& models, blob::FileStore& blobs, const Digest& model,
                                  const Digest& base) {
  auto file = models.open(model);
  if (!file) {
    return fail(file.error());
  }
  tensor::FloatSource base_values = tensor::zeros();
  std::optional<tensor::SafetensorsFile> base_file;
  if (!base.empty()) {
    auto opened = models.open(base);
    if (!opened) {
      return fail(opened.error());
    }
    base_file = *std::move(opened);
    base_values = base_file->values();
  }
  EncodedModel encoded;
  auto stored = blobs.put([&](const blob::FileStore::Writer& write) -> Result<> {
    return tensor::encode(tensor::Codec::lossless, file->layout.parameters(), file->values(), base_values,
                          [&](std::span<const std::byte> bytes) -> Result<> {
                            encoded.bytes += bytes.size();
                            return write(bytes);
                          });
  });
  if (!stored) {
    return fail(stored.error(), "encoding the model for the devices");
  }
  encoded.blob = *stored;
  return encoded;
}

}  // namespace flops::aggregation
