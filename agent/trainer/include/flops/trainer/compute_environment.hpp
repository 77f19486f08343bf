// What the libraries below LibTorch read from the environment when they are loaded, so that a running program cannot
// set it for itself.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace flops::trainer {

// Variables for a program that trains with so many threads (0: one a core):
//   - waiting threads sleep instead of spinning: on a device with other work to do, spinning makes two threads ten
//   times
//     slower than one;
//   - on x86-64 with AVX2, OpenBLAS uses its kernels for Haswell: every such processor then computes the same bytes,
//   and
//     one that is newer than the library is not taken for a Pentium 4 (OpenBLAS 0.3.21 does that, and is a third
//     slower). Unless OPENBLAS_CORETYPE is set already;
//   - cuBLAS, where there is CUDA, works in memory of a fixed size, without which its products are not repeatable.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> compute_environment(int threads);

}  // namespace flops::trainer
