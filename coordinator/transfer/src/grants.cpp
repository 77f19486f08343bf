#include "flops/transfer/grants.hpp"

#include <algorithm>

namespace flops::transfer {

void Grants::add(const TaskId& task, std::uint32_t chunks) {
  remove(task);
  Upload upload;
  upload.chunks.assign(chunks, ChunkState::missing);
  upload.missing = chunks;
  upload.place = order_.insert(order_.end(), task);
  uploads_.emplace(task, std::move(upload));
}

void Grants::remove(const TaskId& task) {
  const auto found = uploads_.find(task);
  if (found == uploads_.end()) {
    return;
  }
  in_flight_ -= found->second.granted;
  order_.erase(found->second.place);
  uploads_.erase(found);
}

void Grants::take_back(Upload& upload) {
  std::ranges::replace(upload.chunks, ChunkState::granted, ChunkState::missing);
  upload.missing += upload.granted;
  in_flight_ -= upload.granted;
  upload.granted = 0;
}

void Grants::pause(const TaskId& task) {
  if (const auto found = uploads_.find(task); found != uploads_.end()) {
    take_back(found->second);
    found->second.paused = true;
  }
}

void Grants::resume(const TaskId& task) {
  if (const auto found = uploads_.find(task); found != uploads_.end()) {
    take_back(found->second);
    found->second.paused = false;
  }
}

Grants::Arrival Grants::arrived(const TaskId& task, std::uint32_t n) {
  const auto found = uploads_.find(task);
  if (found == uploads_.end() || n >= found->second.chunks.size()) {
    return Arrival::not_granted;
  }
  Upload& upload = found->second;
  switch (upload.chunks[n]) {
    case ChunkState::arrived: return Arrival::duplicate;
    case ChunkState::missing: return Arrival::not_granted;
    case ChunkState::granted: break;
  }
  upload.chunks[n] = ChunkState::arrived;
  --upload.granted;
  --in_flight_;
  return Arrival::fresh;
}

blob::ChunkRanges Grants::grant(Upload& upload, std::uint32_t at_most) {
  blob::ChunkRanges ranges;
  for (std::uint32_t n = 0; n < upload.chunks.size() && at_most > 0; ++n) {
    if (upload.chunks[n] != ChunkState::missing) {
      continue;
    }
    upload.chunks[n] = ChunkState::granted;
    ++upload.granted;
    --upload.missing;
    ++in_flight_;
    --at_most;
    if (!ranges.empty() && ranges.back().second + 1 == n) {
      ranges.back().second = n;
    } else {
      ranges.emplace_back(n, n);
    }
  }
  return ranges;
}

std::vector<std::pair<TaskId, blob::ChunkRanges>> Grants::next() {
  std::vector<std::pair<TaskId, blob::ChunkRanges>> grants;
  for (const TaskId& task : order_) {
    Upload& upload = uploads_.at(task);
    // Topped up when half is through, so that a grant message names several chunks.
    if (upload.paused || upload.missing == 0 || upload.granted > device_window_ / 2) {
      continue;
    }
    const std::uint32_t room =
        std::min(fleet_window_ - std::min(fleet_window_, in_flight_), device_window_ - upload.granted);
    if (auto ranges = grant(upload, room); !ranges.empty()) {
      grants.emplace_back(task, std::move(ranges));
    }
  }
  return grants;
}

}  // namespace flops::transfer
