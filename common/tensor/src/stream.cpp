#include "flops/tensor/stream.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "flops/core/io.hpp"

namespace flops::tensor {
namespace {

static_assert(std::endian::native == std::endian::little,
              "files and messages hold little-endian values, read in place");
static_assert(std::numeric_limits<float>::is_iec559 && sizeof(float) == 4);

bool inside(std::uint64_t offset, std::size_t count, std::size_t size) {
  return offset <= size && count <= size - offset;
}

}  // namespace

FloatSource zeros() {
  return [](std::uint64_t, std::span<float> into) -> Result<> {
    std::ranges::fill(into, 0.0F);
    return {};
  };
}

FloatSource from_memory(std::span<const float> values) {
  return [values](std::uint64_t offset, std::span<float> into) -> Result<> {
    if (!inside(offset, into.size(), values.size())) {
      return fail(ErrorKind::bug, "reading {} values at {} of a vector of {}", into.size(), offset, values.size());
    }
    std::ranges::copy(values.subspan(offset, into.size()), into.begin());
    return {};
  };
}

FloatSink to_memory(std::span<float> values) {
  return [values](std::uint64_t offset, std::span<const float> from) -> Result<> {
    if (!inside(offset, from.size(), values.size())) {
      return fail(ErrorKind::bug, "writing {} values at {} of a vector of {}", from.size(), offset, values.size());
    }
    std::ranges::copy(from, values.subspan(offset).begin());
    return {};
  };
}

FloatSource from_file(int fd, std::uint64_t byte_offset) {
  return [fd, byte_offset](std::uint64_t offset, std::span<float> into) {
    return read_at(fd, byte_offset + offset * sizeof(float), std::as_writable_bytes(into));
  };
}

ByteSource bytes_of_file(int fd, std::uint64_t size) {
  return [fd, size, position = std::uint64_t{0}](std::span<std::byte> into) mutable -> Result<> {
    if (into.size() > size - position) {
      return fail(ErrorKind::corrupt, "{} bytes were expected at byte {} of {}", into.size(), position, size);
    }
    auto read = read_at(fd, position, into);
    if (read) {
      position += into.size();
    }
    return read;
  };
}

}  // namespace flops::tensor
