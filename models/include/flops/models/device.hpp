// What a model's arithmetic is done by.
//
// Parameters, samples and checkpoints are in main memory on every device; a model on another device copies to and from
// there. The arithmetic of CUDA is repeatable only as far as its kernels are: two trainings of the same job may differ
// in the last bits, and so may one that went on from a checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace flops::models {

enum class Device : std::uint8_t { cpu, cuda };
[[nodiscard]] std::string_view to_string(Device device);

struct DeviceChoice {
  Device device = Device::cpu;
  std::string reason;  // why it is not CUDA, one line; empty when it is, or was not wanted
};

// CUDA where a product on it comes out right, else the CPU. Never fails. Before the first model, and before a sandbox:
// the driver opens its devices here. Takes up to a few seconds where there is CUDA.
[[nodiscard]] DeviceChoice best_device();

}  // namespace flops::models
