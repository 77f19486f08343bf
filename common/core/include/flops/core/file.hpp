// Whole small files: read with a limit, replaced atomically and durably.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops {

// permanent when it is missing or larger than `limit` bytes.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file, std::size_t limit = 1U << 20U);

// Writes beside the target, syncs, renames, syncs the folder: after a power cut the old or the new content
// is there, never a mixture. `mode` is the file's permission, e.g. 0600 for secrets.
[[nodiscard]] Result<> replace_file(const std::filesystem::path& file, std::string_view content, unsigned mode = 0644);

// Like mkdir -p; new folders get `mode`.
[[nodiscard]] Result<> make_folder(const std::filesystem::path& folder, unsigned mode = 0755);

struct DiskSpace {
  std::uint64_t free = 0;  // bytes, for this user
  bool read_only = false;  // the file system is mounted so
};
[[nodiscard]] Result<DiskSpace> disk_space(const std::filesystem::path& folder);

}  // namespace flops
