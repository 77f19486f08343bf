// One agent a state folder: an flock on <state>/lock, given back by the kernel when the process ends, however it ends.
#pragma once

#include <filesystem>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"

namespace flops::agent {

// denied: another process holds it; the message names its pid.
[[nodiscard]] Result<Fd> lock_state(const std::filesystem::path& folder);

}  // namespace flops::agent
