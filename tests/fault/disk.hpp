// A small disk under a program's state folder, that can be filled and, a real file system, turned read-only as a kernel
// does after an error. Goes with the row's mount namespace.
#pragma once

#include <filesystem>

#include "program.hpp"
#include "stage.hpp"

namespace flops::faults {

// Mounts `megabytes` of memory at `folder`.
[[nodiscard]] Result<> mount_small_disk(const std::filesystem::path& folder, int megabytes);
// An ext4 image, mounted through a loop device.
[[nodiscard]] Result<> mount_image(Stage& stage, const std::filesystem::path& folder, int megabytes);

// Leaves not a byte. Other writers may be at work meanwhile, so it is filled again until `empty_disk`.
[[nodiscard]] Result<> fill_disk(const std::filesystem::path& folder);
[[nodiscard]] Result<> empty_disk(const std::filesystem::path& folder);

// The file system finds itself broken: every write fails from now on, also on files that are open.
[[nodiscard]] Result<> abort_image(Stage& stage, const std::filesystem::path& folder);
// What a person does then; nobody may use the folder.
[[nodiscard]] Result<> repair_image(Stage& stage, const std::filesystem::path& folder);

}  // namespace flops::faults
