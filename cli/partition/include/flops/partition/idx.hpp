// The IDX format of MNIST and its successors (http://yann.lecun.com/exdb/mnist/): a big-endian header
// {0, 0, type, dimensions, size of each dimension}, then the elements. Only unsigned bytes (type 8) are read.
//
// A file may be gzip-compressed. Input is hostile: the header's claim is checked against a limit first, memory grows
// only with the bytes that really arrive, and a file that is longer or shorter than its header says is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::partition {

inline constexpr std::uint64_t max_idx_bytes = 1ULL << 30U;  // elements of one file, unpacked
inline constexpr std::size_t max_idx_dimensions = 4;

struct IdxArray {
  std::vector<std::uint32_t> dimensions;  // the first one counts the samples
  std::vector<std::uint8_t> values;       // row-major

  [[nodiscard]] std::size_t samples() const { return dimensions.empty() ? 0 : dimensions.front(); }
  [[nodiscard]] std::size_t sample_bytes() const {
    const std::size_t count = samples();
    return count == 0 ? 0 : values.size() / count;
  }
  bool operator==(const IdxArray&) const = default;
};

// corrupt: not IDX, another element type, more than `limit` bytes, truncated or with trailing bytes. `name` stands for
// the source in messages.
[[nodiscard]] Result<IdxArray> parse_idx(std::span<const std::byte> bytes, std::string_view name,
                                         std::uint64_t limit = max_idx_bytes);
// The same for a file, plain or gzip. permanent when it cannot be opened.
[[nodiscard]] Result<IdxArray> load_idx(const std::filesystem::path& file, std::uint64_t limit = max_idx_bytes);

// The samples with these indices, in this order, as the bytes of an IDX file. Indices must be below samples().
[[nodiscard]] std::string encode_idx(const IdxArray& array, std::span<const std::uint32_t> indices);

}  // namespace flops::partition
