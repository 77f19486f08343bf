// What training runs on here.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "flops/models/device.hpp"

namespace flops::models {

// Names and values, for people and for flops-agent doctor: torch (version), threads, device, no-cuda (the choice's
// reason, when there is one), blas (the file that the CPU's matrix products come from), gflops (of float32 products of
// 512 x 512 on the device, the best of a few). Call after configure_runtime(). Takes well under a second.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> runtime_facts(const DeviceChoice& choice);

}  // namespace flops::models
