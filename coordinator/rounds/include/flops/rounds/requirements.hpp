// What a run asks of a device's machine.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace flops::rounds {

struct Requirements {
  std::int64_t memory_mb = 0;               // MiB of memory at least
  std::int64_t cores = 0;                   // at least
  std::int64_t storage_mb = 0;              // MiB free for models and checkpoints at least, when the device connected
  std::set<std::string> architecture = {};  // one of them ("x86_64", "aarch64"); none: any
  bool accelerator = false;                 // has one
  std::map<std::string, std::string> labels = {};  // has all of them, with these values

  [[nodiscard]] bool empty() const { return *this == Requirements(); }
  bool operator==(const Requirements&) const = default;
};

// What is known of a machine.
struct Machine {
  std::uint64_t memory_bytes = 0;
  std::int64_t cores = 0;
  std::uint64_t storage_bytes = 0;  // 0: not said
  std::string architecture;
  bool accelerator = false;
  std::map<std::string, std::string> labels;
};

// What the machine lacks, in words: the first that is found; empty: nothing.
[[nodiscard]] std::string unsuitable(const Requirements& wanted, const Machine& machine);

}  // namespace flops::rounds
