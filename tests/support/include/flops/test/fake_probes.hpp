// Probes that say what the test says.
#pragma once

#include <cstdint>
#include <map>

#include "flops/agent_governor/probes.hpp"

namespace flops::test {

class FakeProbes final : public agent::Probes {
 public:
  [[nodiscard]] agent::Readings read(std::span<const int> own) override {
    ++reads;
    agent::Readings now = readings;
    for (const int pid : own) {
      if (const auto process = processes.find(pid); now.cpu && process != processes.end()) {
        now.cpu->own += process->second;
      }
    }
    return now;
  }

  agent::Readings readings;                // with cpu->own = 0
  std::map<int, std::uint64_t> processes;  // ticks by process
  int reads = 0;
};

}  // namespace flops::test
