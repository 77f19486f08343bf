// Reads and writes that are whole or an error, whatever the kernel does in one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "flops/core/error.hpp"

namespace flops {

// corrupt when the file ends early.
[[nodiscard]] Result<> read_at(int fd, std::uint64_t offset, std::span<std::byte> into);
[[nodiscard]] Result<> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes);
// At the file's position.
[[nodiscard]] Result<> write_all(int fd, std::span<const std::byte> bytes);
// New and renamed entries survive a power cut.
[[nodiscard]] Result<> sync_folder(const std::filesystem::path& folder);

}  // namespace flops
