// Training in the middle, as bytes: what a new process needs to go on as if nothing had happened.
//
// Holds the parameters and buffers, the optimiser's state, the state of the random generator and how far the work is.
// Resumed training ends in the same bytes as undisturbed training with the same number of threads. Little-endian; of
// this version of the program and one job only: another job's checkpoint is refused by a digest of the job.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "flops/core/error.hpp"

namespace flops::models {

// The state of a training between two batches. Valid only inside the call that passes it.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  // Size of the checkpoint; the same for every batch of a training.
  [[nodiscard]] virtual std::uint64_t bytes() const = 0;
  // `into` is bytes() long. permanent: LibTorch refuses.
  [[nodiscard]] virtual Result<> write(std::span<std::byte> into) const = 0;
};

}  // namespace flops::models
