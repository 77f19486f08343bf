// One process a state folder: an advisory lock that ends with the process.
#pragma once

#include <filesystem>

#include "flops/core/error.hpp"
#include "flops/core/fd.hpp"

namespace flops::coordinator {

[[nodiscard]] Result<Fd> lock_state(const std::filesystem::path& folder);

}  // namespace flops::coordinator
