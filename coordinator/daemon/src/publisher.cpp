#include "publisher.hpp"

#include "flops/core/log.hpp"

namespace flops::coordinator {
namespace {

constexpr std::size_t window = 8;

}  // namespace

void Publisher::add(const Digest& blob, std::uint64_t bytes) {
  if (!blobs_held_.emplace(blob, bytes).second) {
    return;
  }
  for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
    queue_.push_back({blob, n, false});
  }
  pump();
}

void Publisher::remove(const Digest& blob) {
  const auto found = blobs_held_.find(blob);
  if (found == blobs_held_.end()) {
    return;
  }
  std::erase_if(queue_, [&](const Chunk& chunk) { return chunk.blob == blob; });
  for (std::uint32_t n = 0; n < blob::chunk_count(found->second); ++n) {
    queue_.push_back({blob, n, true});
  }
  blobs_held_.erase(found);
  if (auto removed = blobs_.remove(blob); !removed) {
    log::warn("blobs", "{}", removed.error().what);
  }
  pump();
}

void Publisher::republish() {
  // Clearing what the broker may have kept stays queued; everything held is published anew.
  std::erase_if(queue_, [](const Chunk& chunk) { return !chunk.clear; });
  for (const auto& [blob, bytes] : blobs_held_) {
    for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
      queue_.push_back({blob, n, false});
    }
  }
  pump();
}

void Publisher::pump() {
  while (in_flight_ < window && !queue_.empty() && link_.ready()) {
    const Chunk chunk = queue_.front();
    queue_.pop_front();
    if (auto sent = send(chunk); !sent) {
      queue_.push_front(chunk);
      problem_ = sent.error();
      return;
    }
    problem_.reset();
  }
}

Result<> Publisher::retry() {
  if (problem_) {
    pump();
  }
  return problem_ ? fail(*problem_) : Result<>();
}

Result<> Publisher::send(const Chunk& chunk) {
  std::string payload;
  if (!chunk.clear) {
    std::vector<std::byte> bytes;
    if (auto read = blobs_.read_chunk(chunk.blob, chunk.n, bytes); !read) {
      return fail(read.error(), fmt::format("chunk {} of blob {}", chunk.n, chunk.blob.short_hex()));
    }
    payload.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  ++in_flight_;
  link_.publish(link_.topics().chunk(chunk.blob, chunk.n), std::move(payload), {.qos = 1, .retain = true},
                [this, chunk](Result<> done) {
                  --in_flight_;
                  if (done) {
                    pump();
                    return;
                  }
                  queue_.push_front(chunk);  // goes out after the next connect
                  if (done.error().kind == ErrorKind::denied) {
                    log::error("blobs", "the broker refuses blobs: {}", done.error().what);
                  }
                });
  return {};
}

}  // namespace flops::coordinator
