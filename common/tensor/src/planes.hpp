// One block of the lossless codec: the difference of float bits, split into four planes of bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <zstd.h>

#include "flops/core/error.hpp"

namespace flops::tensor {

inline constexpr std::size_t plane_count = 4;
// In front of every plane: the number of bytes that follow; the top bit says that they are a zstd frame.
inline constexpr std::size_t plane_prefix = 4;
inline constexpr std::uint32_t compressed_flag = 1U << 31U;

// Four planes of up to block_elements bytes, lowest byte first.
class Planes {
 public:
  explicit Planes(std::size_t capacity);
  [[nodiscard]] std::span<std::byte> plane(std::size_t index, std::size_t count) {
    return std::span(bytes_).subspan(index * capacity_, count);
  }

  // planes = shuffle(zigzag(bits(values) - bits(base)))
  void split(std::span<const float> values, std::span<const float> base);
  // The inverse: `values` holds the base and becomes the result.
  void join(std::span<float> values) const;

 private:
  std::size_t capacity_;
  std::vector<std::byte> bytes_;
};

// Compresses planes, appending prefix and bytes; stores what does not get smaller.
class PlaneWriter {
 public:
  [[nodiscard]] static Result<PlaneWriter> create();
  [[nodiscard]] Result<> append(std::span<const std::byte> plane, std::vector<std::byte>& to);

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context_;
};

// Expands frames that must become exactly a plane.
class PlaneReader {
 public:
  [[nodiscard]] static Result<PlaneReader> create();
  // corrupt: not one whole frame, or not of plane.size() bytes.
  [[nodiscard]] Result<> expand(std::span<const std::byte> frame, std::span<std::byte> plane);

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
};

// True when a sample of the plane is spread so evenly over the 256 values that compressing it is a waste of time.
[[nodiscard]] bool looks_like_noise(std::span<const std::byte> plane);

}  // namespace flops::tensor
