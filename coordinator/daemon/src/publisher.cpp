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
  for (std::deque<Chunk>* chunks : {&queue_, &unread_}) {
    std::erase_if(*chunks, [&](const Chunk& chunk) { return chunk.blob == blob; });
  }
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
  unread_.clear();
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
      unread_.push_back(chunk);  // the others do not wait for it
      problem_ = sent.error();
    }
  }
}

std::optional<Error> Publisher::problem() const {
  return unread_.empty() ? std::nullopt : problem_;
}

Result<> Publisher::retry() {
  queue_.insert(queue_.begin(), unread_.begin(), unread_.end());
  unread_.clear();
  pump();
  const auto still = problem();
  return still ? fail(*still) : Result<>();
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
                  if (chunk.clear || blobs_held_.contains(chunk.blob)) {
                    queue_.push_front(chunk);  // goes out after the next connect
                  }
                  if (done.error().kind == ErrorKind::denied) {
                    log::error("blobs", "the broker refuses blobs: {}", done.error().what);
                  }
                });
  return {};
}

}  // namespace flops::coordinator
