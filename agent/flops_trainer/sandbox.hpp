// What the worker gives up before it touches data or parameters.
#pragma once

#include "flops/core/error.hpp"

namespace flops {

// No new privileges, no core dumps, and a seccomp filter for all threads: everything that LibTorch needs is allowed;
// making sockets, starting programs, tracing, mounting, namespaces, kernel modules, BPF, io_uring and clock changes
// answer EPERM. Descriptors that are open already go on working. denied: the kernel refuses the filter.
[[nodiscard]] Result<> enter_sandbox();

}  // namespace flops
