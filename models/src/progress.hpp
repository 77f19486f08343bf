// Where a training stands, and its form as a checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <torch/optim/optimizer.h>

#include "flops/core/digest.hpp"
#include "flops/models/checkpoint.hpp"
#include "parts.hpp"

namespace flops::models {

struct Position {
  std::uint64_t done = 0;  // batches, of all epochs
  double loss = 0;         // sum over the samples seen of the current epoch
  double seconds = 0;      // of training so far, in all processes
};

class TrainingSnapshot final : public Snapshot {
 public:
  // `job` is a digest of everything that determines the training's result. All references must outlive the snapshot.
  TrainingSnapshot(Model::Parts& parts, torch::optim::Optimizer& optimizer, const Digest& job,
                   const Position& position);
  [[nodiscard]] std::uint64_t bytes() const override;
  [[nodiscard]] Result<> write(std::span<std::byte> into) const override;
  // Puts model, optimiser and random generator where they were, and says where that is. corrupt, with nothing changed:
  // it is no checkpoint, one of another job or version, or does not fit. `total`: batches of the training.
  [[nodiscard]] Result<Position> restore(std::span<const std::byte> from, std::uint64_t total);

 private:
  struct Sizes;
  [[nodiscard]] Sizes sizes() const;

  Model::Parts& parts_;
  torch::optim::Optimizer& optimizer_;
  const Digest& job_;
  const Position& position_;
};

}  // namespace flops::models
