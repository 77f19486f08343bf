#include "model_work.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "flops/blob/chunks.hpp"
#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/safetensors.hpp"
#include "flops/tensor/stream.hpp"
#include "flops/trainer/job.hpp"

namespace flops::agent {
namespace {

constexpr std::size_t block_bytes = std::size_t{256} * 1024;

std::unexpected<Error> stopped() {
  return fail(ErrorKind::cancelled, "the agent stops");
}

tensor::FloatSource stoppable(tensor::FloatSource source, const std::atomic<bool>& stop) {
  return [source = std::move(source), &stop](std::uint64_t offset, std::span<float> into) -> Result<> {
    if (stop) {
      return stopped();
    }
    return source(offset, into);
  };
}

tensor::FloatSink to_file(int fd, const std::atomic<bool>& stop) {
  return [fd, &stop](std::uint64_t offset, std::span<const float> values) -> Result<> {
    if (stop) {
      return stopped();
    }
    return write_at(fd, offset * sizeof(float), std::as_bytes(values));
  };
}

Result<Digest> digest_of_file(int fd, std::uint64_t size, const std::atomic<bool>& stop) {
  crypto::Sha256 sha;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min<std::uint64_t>(size, block_bytes)));
  for (std::uint64_t offset = 0; offset < size; offset += block.size()) {
    if (stop) {
      return stopped();
    }
    const auto part =
        std::span(block).first(static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), size - offset)));
    if (auto read = read_at(fd, offset, part); !read) {
      return fail(read.error());
    }
    sha.update(part);
  }
  return sha.finish();
}

// Passes values on and refuses the first that is not finite.
tensor::FloatSource finite(tensor::FloatSource source, const tensor::Layout& layout) {
  return [source = std::move(source), &layout](std::uint64_t offset, std::span<float> into) -> Result<> {
    if (auto read = source(offset, into); !read) {
      return read;
    }
    const auto bad = std::ranges::find_if_not(into, [](float value) { return std::isfinite(value); });
    if (bad == into.end()) {
      return {};
    }
    const std::uint64_t at = offset + static_cast<std::uint64_t>(bad - into.begin());
    for (const tensor::TensorSpec& spec : layout.tensors()) {
      if (at >= spec.offset && at - spec.offset < spec.count) {
        return fail(ErrorKind::permanent, "training diverged: {}[{}] is not finite", spec.name, at - spec.offset);
      }
    }
    return fail(ErrorKind::permanent, "training diverged: value {} is not finite", at);
  };
}

Assembled failed(Error error, bool wrong_model = false) {
  return {nullptr, std::move(error), wrong_model};
}

}  // namespace

Assembled assemble(const AssembleInput& input, const std::atomic<bool>& stop) {
  auto digest = digest_of_file(input.blob_file->get(), input.blob.size, stop);
  if (!digest) {
    return failed(digest.error());
  }
  if (*digest != input.blob.sha256) {
    return failed({ErrorKind::corrupt,
                   fmt::format("blob {} arrived with digest {}", input.blob.sha256.short_hex(), digest->short_hex())});
  }
  auto model = trainer::make_memfd("flops-model", input.layout.bytes());
  if (!model) {
    return failed(model.error());
  }
  const auto base = input.delta_base ? tensor::from_file(input.delta_base->get(), 0) : tensor::zeros();
  auto decoded = tensor::decode(input.layout.parameters(), input.blob.size,
                                tensor::bytes_of_file(input.blob_file->get(), input.blob.size), stoppable(base, stop),
                                to_file(model->get(), stop));
  if (!decoded) {
    // The bytes are what the coordinator announced: fetching them again cannot help.
    Error error = decoded.error().within("decoding the base model");
    error.kind = error.kind == ErrorKind::corrupt ? ErrorKind::permanent : error.kind;
    return failed(std::move(error));
  }
  if (auto verified = verify_model(input.layout, input.model, model->get(), stop); !verified) {
    Error error = verified.error();
    const bool wrong = error.kind == ErrorKind::corrupt;
    error.kind = wrong ? ErrorKind::permanent : error.kind;
    return failed(std::move(error), wrong);
  }
  return {std::make_shared<Fd>(*std::move(model)), std::nullopt, false};
}

Result<Digest> digest_of_model(const tensor::Layout& layout, int file, const std::atomic<bool>& stop) {
  return tensor::model_digest(layout, stoppable(tensor::from_file(file, 0), stop));
}

Result<> verify_model(const tensor::Layout& layout, const Digest& expected, int file, const std::atomic<bool>& stop) {
  auto digest = digest_of_model(layout, file, stop);
  if (!digest) {
    return fail(digest.error());
  }
  if (*digest != expected) {
    return fail(ErrorKind::corrupt, "the base model is {}, the task names {}", digest->short_hex(),
                expected.short_hex());
  }
  return {};
}

Result<EncodedUpdate> encode_update(tensor::Codec codec, const tensor::Layout& layout, int values, int base,
                                    const std::atomic<bool>& stop) {
  struct stat info{};
  if (::fstat(values, &info) != 0 || static_cast<std::uint64_t>(info.st_size) != layout.bytes()) {
    return fail(ErrorKind::permanent, "the trainer's result has {} bytes, the layout needs {}", info.st_size,
                layout.bytes());
  }
  const std::uint64_t limit = tensor::max_encoded_bytes(codec, layout.parameters());
  auto file = trainer::make_memfd("flops-update", limit);
  if (!file) {
    return fail(file.error());
  }
  crypto::Sha256 sha;
  std::uint64_t size = 0;
  const auto append = [&](std::span<const std::byte> bytes) -> Result<> {
    sha.update(bytes);
    auto written = write_at(file->get(), size, bytes);
    size += bytes.size();
    return written;
  };
  const auto source = finite(stoppable(tensor::from_file(values, 0), stop), layout);
  auto encoded = tensor::encode(codec, layout.parameters(), source,
                                base >= 0 ? tensor::from_file(base, 0) : tensor::zeros(), append);
  if (!encoded) {
    return fail(encoded.error());
  }
  return EncodedUpdate{std::make_shared<Fd>(*std::move(file)), {sha.finish(), size}};
}

Result<EncodedUpdate> take_sum(const tensor::Layout& layout, const SharedFd& file, std::uint64_t bytes,
                               const std::atomic<bool>& stop) {
  struct stat info{};
  const std::uint64_t limit = std::min(tensor::max_partial_sum_bytes(layout), blob::max_blob_size);
  if (::fstat(file->get(), &info) != 0 || static_cast<std::uint64_t>(info.st_size) != bytes || bytes > limit) {
    return fail(ErrorKind::permanent, "the site's sum has {} bytes, not {} and at most {}", info.st_size, bytes, limit);
  }
  auto digest = digest_of_file(file->get(), bytes, stop);
  if (!digest) {
    return fail(digest.error());
  }
  return EncodedUpdate{file, {*digest, bytes}, wire::sum_codec};
}

}  // namespace flops::agent
