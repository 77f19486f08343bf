#include "uploader.hpp"

#include <algorithm>

#include "flops/core/log.hpp"

namespace flops::agent {

void Uploader::grant(const TaskId& task, const Digest& blob, const blob::ChunkRanges& ranges) {
  auto job = std::ranges::find(jobs_, task, &Job::task);
  if (job == jobs_.end()) {
    job = jobs_.insert(jobs_.end(), {task, blob, {}});
  }
  for (const auto& [first, last] : ranges) {
    for (std::uint32_t n = first; n <= last; ++n) {
      job->chunks.insert(n);
    }
  }
  pump();
}

void Uploader::stop(const TaskId& task) {
  std::erase_if(jobs_, [&](const Job& job) { return job.task == task; });
}

void Uploader::link_down() {
  jobs_.clear();
  ++generation_;
  in_flight_ = 0;
}

void Uploader::pump() {
  while (in_flight_ < window && !jobs_.empty()) {
    Job& job = jobs_.front();
    if (job.chunks.empty()) {
      jobs_.pop_front();
      continue;
    }
    const std::uint32_t n = *job.chunks.begin();
    job.chunks.erase(job.chunks.begin());
    auto bytes = ports_.read(job.task, n);
    if (!bytes || !*bytes) {
      log::error("upload", "chunk {} of the update of task {} cannot be read{}{}", n, job.task, bytes ? "" : ": ",
                 bytes ? "" : bytes.error().what);
      jobs_.pop_front();
      continue;
    }
    ++in_flight_;
    ports_.send(job.blob, n, std::move(**bytes),
                [this, task = job.task, blob = job.blob, generation = generation_](const Result<>& outcome) {
                  sent(task, blob, generation, outcome);
                });
  }
}

void Uploader::sent(const TaskId& task, const Digest& blob, std::uint64_t generation, const Result<>& outcome) {
  if (generation != generation_) {
    return;
  }
  --in_flight_;
  if (!outcome) {
    log::warn("upload", "update {} of task {}: {}", blob.short_hex(), task, outcome.error().what);
    stop(task);
  }
  pump();
}

}  // namespace flops::agent
