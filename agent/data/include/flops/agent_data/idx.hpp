// How many samples IDX files (the MNIST format) hold, from their headers alone: at most 16 bytes of each are read.
//
// Format: http://yann.lecun.com/exdb/mnist/ ("THE IDX FILE FORMAT"): 0, 0, type (8: unsigned byte), number of
// dimensions, then each dimension as a big-endian 32-bit integer, then the values.
#pragma once

#include <cstdint>
#include <filesystem>

#include "flops/core/error.hpp"

namespace flops::agent {

// permanent: a file is missing, not IDX of unsigned bytes, its length does not fit its header, the samples have more
// than 3 dimensions, the labels not exactly 1, or samples and labels are not as many.
[[nodiscard]] Result<std::uint64_t> count_idx_samples(const std::filesystem::path& samples,
                                                      const std::filesystem::path& labels);

}  // namespace flops::agent
