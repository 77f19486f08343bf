#include "flops/aggregation/round_sum.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <optional>

#include <fcntl.h>

#include "flops/core/fd.hpp"
#include "model_writer.hpp"

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
  return std::unique_ptr<RoundSum>(new RoundSum(*std::move(file), *std::move(sum)));
}

Result<> RoundSum::add(const StoredUpdate& update, std::uint32_t weight) {
  if (!sum_.fits(weight)) {
    return fail(ErrorKind::permanent, "the weight {} is 0, or the round's total would pass {}", weight,
                tensor::max_total_weight);
  }
  std::uint64_t added = 0;
  const std::uint64_t count = base_.layout.parameters();
  auto done = decode_update(update, count, base_.values(),
                            [&](std::uint64_t offset, std::span<const float> values) -> Result<> {
                              auto result = sum_.add(offset, values, weight);
                              if (result) {
                                added = offset + values.size();
                              }
                              return result;
                            });
  if (done) {
    sum_.count(weight);
    return {};
  }
  // Integer sums can be taken apart again: subtract exactly what went in.
  std::uint64_t left = added;
  auto undone =
      decode_update(update, count, base_.values(), [&](std::uint64_t, std::span<const float> values) -> Result<> {
        const std::uint64_t offset = added - left;
        const std::size_t n = std::min<std::uint64_t>(values.size(), left);
        sum_.subtract(offset, values.first(n), weight);
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
