// Whole reads and writes at an offset, and making files and folders durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::blob {

// Bytes a read or write at once while hashing.
inline constexpr std::size_t io_block = 128U * 1024U;

[[nodiscard]] Result<> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes);
// corrupt when the file ends early.
[[nodiscard]] Result<> read_at(int fd, std::uint64_t offset, std::span<std::byte> into);
[[nodiscard]] Result<std::uint64_t> file_size(int fd);
// SHA-256 of the first `size` bytes.
[[nodiscard]] Result<Digest> digest_of(int fd, std::uint64_t size);
[[nodiscard]] Result<> sync_folder(const std::filesystem::path& folder);

}  // namespace flops::blob
