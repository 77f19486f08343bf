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
  // A clearing under way ends here; what of it is with the broker already comes before what is published now.
  drop_waiting(blob);
  clearings_.erase(blob);
  leftovers_.forget(blob);
  for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
    queue_.push_back({blob, n, 0});
  }
  pump();
}

void Publisher::remove(const Digest& blob) {
  const auto found = blobs_held_.find(blob);
  if (found == blobs_held_.end()) {
    return;
  }
  const std::uint64_t bytes = found->second;
  blobs_held_.erase(found);
  drop_waiting(blob);
  if (auto kept = leftovers_.keep(blob, bytes, blobs_.path_of(blob)); !kept) {
    log::warn("blobs", "a kill now would leave blob {} on the broker: {}", blob.short_hex(), kept.error().what);
  }
  clear(blob, bytes);
  pump();
}

void Publisher::clear_leftovers() {
  for (const auto& [blob, bytes] : leftovers_.all()) {
    if (!clearings_.contains(blob)) {
      clear(blob, bytes);
    }
  }
  pump();
}

void Publisher::clear(const Digest& blob, std::uint64_t bytes) {
  const std::uint32_t chunks = blob::chunk_count(bytes);
  clearings_[blob] = {++clearings_begun_, chunks};
  for (std::uint32_t n = 0; n < chunks; ++n) {
    queue_.push_back({blob, n, clearings_begun_});
  }
}

void Publisher::cleared(const Chunk& chunk) {
  const auto found = clearings_.find(chunk.blob);
  if (found != clearings_.end() && found->second.number == chunk.clearing && --found->second.chunks_left == 0) {
    clearings_.erase(found);
    leftovers_.forget(chunk.blob);
  }
}

bool Publisher::is_wanted(const Chunk& chunk) const {
  if (chunk.clearing == 0) {
    return blobs_held_.contains(chunk.blob);
  }
  const auto found = clearings_.find(chunk.blob);
  return found != clearings_.end() && found->second.number == chunk.clearing;
}

void Publisher::drop_waiting(const Digest& blob) {
  for (std::deque<Chunk>* chunks : {&queue_, &unread_}) {
    std::erase_if(*chunks, [&](const Chunk& chunk) { return chunk.blob == blob; });
  }
}

void Publisher::republish() {
  // Clearing what the broker may have kept stays queued; everything held is published anew.
  std::erase_if(queue_, [](const Chunk& chunk) { return chunk.clearing == 0; });
  unread_.clear();
  for (const auto& [blob, bytes] : blobs_held_) {
    for (std::uint32_t n = 0; n < blob::chunk_count(bytes); ++n) {
      queue_.push_back({blob, n, 0});
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
  if (chunk.clearing == 0) {
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
                    if (chunk.clearing != 0) {
                      cleared(chunk);
                    }
                    pump();
                    return;
                  }
                  if (is_wanted(chunk)) {
                    queue_.push_front(chunk);  // goes out after the next connect
                  }
                  if (done.error().kind == ErrorKind::denied) {
                    log::error("blobs", "the broker refuses blobs: {}", done.error().what);
                  }
                });
  return {};
}

}  // namespace flops::coordinator
