// Labelled grey-scale images, or tables of numbers, in memory, read from IDX files (the MNIST format,
// http://yann.lecun.com/exdb/mnist).
//
// Pixels stay bytes: a quarter of the memory of floats; a batch becomes x / 255 when it is used. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::models {

inline constexpr std::uint32_t max_samples = 1U << 24U;
inline constexpr std::uint32_t max_image_side = 4096;
inline constexpr std::uint64_t max_split_bytes = 2ULL << 30U;

// One split (train or test) of a data tag. A table has one row a sample, and its values in `numbers`.
struct Split {
  std::uint32_t count = 0;
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
  std::vector<std::uint8_t> pixels;  // count * rows * columns, one image after the other; or
  std::vector<float> numbers;        // the same number of finite values
  std::vector<std::uint8_t> labels;  // count
  std::string samples_name;          // the files' names, for messages
  std::string labels_name;

  [[nodiscard]] std::size_t sample_values() const { return std::size_t{rows} * columns; }
};

// permanent: a file is missing, is no IDX file of the wanted kind, is longer or shorter than its header says, breaks a
// limit above, has no samples, or the two files differ in their number of samples, or a number is not finite. Nothing
// is allocated before the header agrees with the file's size. Images are bytes in three dimensions, tables float32 in
// two.
[[nodiscard]] Result<Split> read_idx(const std::filesystem::path& samples, const std::filesystem::path& labels);

// These samples of a split, in this order. Indices must be below its count.
[[nodiscard]] Split subset(const Split& split, std::span<const std::uint32_t> indices);

// Keeps the splits used last, so that a warm worker does not read them again. A split is read again when one of its
// files changed (path, inode, size or modification time).
class SplitCache {
 public:
  static constexpr std::size_t capacity = 2;  // the train and the test split of one tag
  [[nodiscard]] Result<std::shared_ptr<const Split>> get(const std::filesystem::path& samples,
                                                         const std::filesystem::path& labels);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Split> split;
  };
  std::vector<Entry> entries_;  // oldest use first
};

}  // namespace flops::models
