// What the formats made of planes share: little-endian numbers, bytes that are counted while they are read, one plane
// of a blob.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/tensor/stream.hpp"
#include "planes.hpp"

namespace flops::tensor {

// `size` bytes, at most eight.
void store_number(std::byte* to, std::uint64_t value, std::size_t size);
[[nodiscard]] std::uint64_t load_number(const std::byte* from, std::size_t size);

// A byte source that knows how much may still come. The source must outlive it.
class CountedReader {
 public:
  CountedReader(const ByteSource& in, std::uint64_t size) : in_(in), left_(size) {}
  [[nodiscard]] std::uint64_t left() const { return left_; }
  // corrupt: fewer are left.
  [[nodiscard]] Result<> read(std::span<std::byte> into);

 private:
  const ByteSource& in_;
  std::uint64_t left_;
};

// Reads planes that a PlaneWriter wrote.
class PlaneStream {
 public:
  // Of up to `capacity` bytes a plane; `in` must outlive it. resource: memory.
  [[nodiscard]] static Result<PlaneStream> create(CountedReader& in, std::size_t capacity);
  // corrupt: anything but a plane of exactly this length.
  [[nodiscard]] Result<> read(std::span<std::byte> plane);

 private:
  PlaneStream(CountedReader& in, PlaneReader frames, std::size_t capacity)
      : in_(&in), frames_(std::move(frames)), frame_(capacity) {}

  CountedReader* in_;
  PlaneReader frames_;
  std::vector<std::byte> frame_;
};

}  // namespace flops::tensor
