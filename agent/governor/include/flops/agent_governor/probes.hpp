// Measuring as a port, so that what depends on a hot processor or an empty battery is tested without one. FakeProbes
// (tests/support) passes the same contract test.
#pragma once

#include <filesystem>
#include <span>

#include "flops/agent_governor/readings.hpp"

namespace flops::agent {

class Probes {
 public:
  virtual ~Probes() = default;
  // `own`: ids of our own processes; one that is gone counts nothing.
  [[nodiscard]] virtual Readings read(std::span<const int> own) = 0;
};

// Reads /proc and /sys below `root`, without privileges: a dozen small files, well below a millisecond on most
// machines; a slow battery controller may take some. One thread.
class SystemProbes final : public Probes {
 public:
  explicit SystemProbes(std::filesystem::path root = "/") : root_(std::move(root)) {}
  [[nodiscard]] Readings read(std::span<const int> own) override;

 private:
  std::filesystem::path root_;
};

}  // namespace flops::agent
