// SQLite's default VFS, with every byte that it writes counted for bytes_written().
#pragma once

#include "flops/core/error.hpp"

namespace flops::store {

// Its name; registers it the first time. bug: SQLite has no default VFS.
[[nodiscard]] Result<const char*> counted_vfs();

}  // namespace flops::store
