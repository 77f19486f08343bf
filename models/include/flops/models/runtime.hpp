// What training runs on here.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace flops::models {

// Names and values, for people and for flops-agent doctor: torch (version), threads, device, blas (the file that its
// matrix products come from), gflops (of float32 products of 512 x 512, the best of a few). Call after
// configure_runtime(). Takes well under a second.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> runtime_facts();

}  // namespace flops::models
