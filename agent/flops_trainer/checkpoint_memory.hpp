// The memory that a training's checkpoints are written to, one after the other in two places: the last whole one is
// never touched while the next is written, so the worker may die at any instant.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "flops/core/error.hpp"
#include "flops/models/checkpoint.hpp"
#include "flops/trainer/job.hpp"

namespace flops {

class CheckpointMemory {
 public:
  // `in_use`: the checkpoint that the job goes on from. `fd` must outlive this.
  CheckpointMemory(int fd, const std::optional<trainer::Place>& in_use);
  ~CheckpointMemory();
  CheckpointMemory(const CheckpointMemory&) = delete;
  CheckpointMemory& operator=(const CheckpointMemory&) = delete;

  // resource: no memory.
  [[nodiscard]] Result<trainer::Place> write(const models::Snapshot& snapshot);
  // corrupt: there are not as many bytes, or more than a checkpoint of `parameters` values can have.
  [[nodiscard]] Result<std::vector<std::byte>> read(const trainer::Place& place, std::uint64_t parameters) const;

 private:
  [[nodiscard]] Result<> make_room(std::uint64_t bytes);

  int fd_;
  std::size_t next_;  // of the two places
  std::uint64_t room_ = 0;
  std::span<std::byte> mapped_;
};

}  // namespace flops
