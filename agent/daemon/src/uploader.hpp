// Sends granted chunks of updates, a few in flight at a time. Forgets everything when the link goes down: the
// coordinator grants again what it misses. Loop's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "flops/blob/chunks.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"

namespace flops::agent {

class Uploader {
 public:
  static constexpr std::size_t window = 8;

  struct Ports {
    std::function<Result<std::optional<std::string>>(const TaskId&, std::uint32_t n)> read;
    std::function<void(const Digest& blob, std::uint32_t n, std::string bytes, std::function<void(Result<>)>)> send;
  };

  explicit Uploader(Ports ports) : ports_(std::move(ports)) {}

  void grant(const TaskId& task, const Digest& blob, const blob::ChunkRanges& ranges);
  void stop(const TaskId& task);
  void link_down();

 private:
  struct Job {
    TaskId task;
    Digest blob;
    std::set<std::uint32_t> chunks;
  };
  void pump();
  void sent(const TaskId& task, const Digest& blob, std::uint64_t generation, const Result<>& outcome);

  Ports ports_;
  std::deque<Job> jobs_;
  std::size_t in_flight_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace flops::agent
