#include "flops/rounds/requirements.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace flops::rounds {
namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20U;

}  // namespace

std::string unsuitable(const Requirements& wanted, const Machine& machine) {
  if (machine.memory_bytes / mib < static_cast<std::uint64_t>(wanted.memory_mb)) {
    return fmt::format("{} MiB of memory, {} are wanted", machine.memory_bytes / mib, wanted.memory_mb);
  }
  if (machine.cores < wanted.cores) {
    return fmt::format("{} cores, {} are wanted", machine.cores, wanted.cores);
  }
  if (wanted.storage_mb > 0 && machine.storage_bytes == 0) {
    return "it does not say how much storage is free: its agent is too old for that";
  }
  if (machine.storage_bytes / mib < static_cast<std::uint64_t>(wanted.storage_mb)) {
    return fmt::format("{} MiB of storage are free, {} are wanted", machine.storage_bytes / mib, wanted.storage_mb);
  }
  if (!wanted.architecture.empty() && !wanted.architecture.contains(machine.architecture)) {
    return fmt::format("its architecture is {}, {} is wanted", machine.architecture,
                       fmt::join(wanted.architecture, " or "));
  }
  if (wanted.accelerator && !machine.accelerator) {
    return "it has no accelerator";
  }
  for (const auto& [name, value] : wanted.labels) {
    const auto label = machine.labels.find(name);
    if (label == machine.labels.end()) {
      return fmt::format("it has no label {}, {} is wanted", name, value);
    }
    if (label->second != value) {
      return fmt::format("its label {} is {}, {} is wanted", name, label->second, value);
    }
  }
  return {};
}

}  // namespace flops::rounds
