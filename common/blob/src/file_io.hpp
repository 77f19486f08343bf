// Sizes and digests of open files.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::blob {

// Bytes a read or write at once while hashing.
inline constexpr std::size_t io_block = std::size_t{128} * 1024U;

[[nodiscard]] Result<std::uint64_t> file_size(int fd);
// SHA-256 of the first `size` bytes.
[[nodiscard]] Result<Digest> digest_of(int fd, std::uint64_t size);

}  // namespace flops::blob
