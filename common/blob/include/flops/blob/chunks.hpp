// How a blob is cut into chunks, and which of them are there.
//
// Every chunk but the last has `chunk_size` bytes. Indices count from 0.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::blob {

inline constexpr std::uint32_t chunk_size = 256U * 1024U;
inline constexpr std::uint64_t max_blob_size = 4ULL << 30U;

[[nodiscard]] constexpr std::uint32_t chunk_count(std::uint64_t size) {
  return static_cast<std::uint32_t>((size + chunk_size - 1) / chunk_size);
}
// Bytes of chunk n; 0 when there is no such chunk.
[[nodiscard]] constexpr std::uint32_t chunk_bytes(std::uint64_t size, std::uint32_t n) {
  const std::uint64_t begin = std::uint64_t{n} * chunk_size;
  if (begin >= size) {
    return 0;
  }
  return static_cast<std::uint32_t>(size - begin < chunk_size ? size - begin : chunk_size);
}

// Inclusive ranges of chunk indices, ascending, not touching: [0,3] [7,7].
using ChunkRanges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

class ChunkSet {
 public:
  explicit ChunkSet(std::uint32_t count) : present_(count, false) {}
  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(present_.size()); }
  [[nodiscard]] std::uint32_t present() const { return number_present_; }
  [[nodiscard]] bool complete() const { return number_present_ == present_.size(); }
  [[nodiscard]] bool has(std::uint32_t n) const { return n < present_.size() && present_[n]; }
  // False when it was there already or there is no such chunk.
  bool add(std::uint32_t n);
  // The first `at_most` missing chunks.
  [[nodiscard]] ChunkRanges missing(std::uint32_t at_most = UINT32_MAX) const;

 private:
  std::vector<bool> present_;
  std::uint32_t number_present_ = 0;
};

}  // namespace flops::blob
