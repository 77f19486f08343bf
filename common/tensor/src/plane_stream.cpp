#include "plane_stream.hpp"

#include <array>

namespace flops::tensor {

void store_number(std::byte* to, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    to[i] = static_cast<std::byte>(value >> 8 * i & 0xffU);
  }
}

std::uint64_t load_number(const std::byte* from, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = value << 8U | std::to_integer<std::uint64_t>(from[i]);
  }
  return value;
}

Result<> CountedReader::read(std::span<std::byte> into) {
  if (into.size() > left_) {
    return fail(ErrorKind::corrupt, "truncated: {} bytes are left, {} are needed", left_, into.size());
  }
  left_ -= into.size();
  return in_(into);
}

Result<PlaneStream> PlaneStream::create(CountedReader& in, std::size_t capacity) {
  auto frames = PlaneReader::create();
  if (!frames) {
    return fail(frames.error());
  }
  return PlaneStream(in, *std::move(frames), capacity);
}

Result<> PlaneStream::read(std::span<std::byte> plane) {
  std::array<std::byte, plane_prefix> prefix{};
  if (auto read = in_->read(prefix); !read) {
    return read;
  }
  const auto word = static_cast<std::uint32_t>(load_number(prefix.data(), prefix.size()));
  const std::size_t length = word & ~compressed_flag;
  if ((word & compressed_flag) == 0) {
    if (length != plane.size()) {
      return fail(ErrorKind::corrupt, "{} stored bytes instead of {}", length, plane.size());
    }
    return in_->read(plane);
  }
  // Longer than the plane it is never: then it would have been stored. So `frame_`, a block long, suffices.
  if (length == 0 || length >= plane.size()) {
    return fail(ErrorKind::corrupt, "a frame of {} bytes for {}", length, plane.size());
  }
  const auto bytes = std::span(frame_).first(length);
  if (auto read = in_->read(bytes); !read) {
    return read;
  }
  return frames_.expand(bytes, plane);
}

}  // namespace flops::tensor
