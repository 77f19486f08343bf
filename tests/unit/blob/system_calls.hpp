// What this program tells the disk, in order; and a disk that refuses.
#pragma once

#include <string>
#include <vector>

namespace flops::blob::testing {

struct SystemCall {
  enum class Kind { sync, rename, make_folder };
  Kind kind;
  std::string path;  // of a rename: the old name
  std::string to;    // of a rename
};

// Empties the list and the refusals.
void record_system_calls();
[[nodiscard]] const std::vector<SystemCall>& system_calls();
// The n-th fsync() from now (1: the next) fails with an I/O error.
void refuse_sync(int n);

}  // namespace flops::blob::testing
