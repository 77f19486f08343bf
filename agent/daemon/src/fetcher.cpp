#include "fetcher.hpp"

#include <algorithm>
#include <utility>

#include "flops/core/log.hpp"

namespace flops::agent {
namespace {

using std::chrono::seconds;

// A chunk that was lost (QoS 1 over a queue limit, a chunk not yet there) is asked for again.
constexpr seconds silence{30};
constexpr seconds retry_pause{5};

}  // namespace

Fetcher::Fetcher(const boost::asio::any_io_executor& loop, Ports ports) : ports_(std::move(ports)), watchdog_(loop) {}

void Fetcher::start(const TaskId& task, const wire::BlobRef& blob, blob::ChunkSet have) {
  const auto known = std::ranges::find(jobs_, task, &Job::task);
  if (known != jobs_.end() && known->blob == blob) {
    pump();
    return;
  }
  stop(task);
  jobs_.push_back({task, blob, std::move(have)});
  pump();
}

void Fetcher::stop(const TaskId& task) {
  const auto job = std::ranges::find(jobs_, task, &Job::task);
  if (job == jobs_.end()) {
    return;
  }
  if (job == jobs_.begin()) {
    leave_current();
    pump();
  } else {
    jobs_.erase(job);
  }
}

void Fetcher::stop_all() {
  link_up_ = false;
  jobs_.clear();
  pending_.clear();
  watchdog_.cancel();
}

void Fetcher::link_up() {
  link_up_ = true;
  begin_over(seconds(0));
}

void Fetcher::link_down() {
  link_up_ = false;
  watchdog_.cancel();
}

void Fetcher::on_chunk(const Digest& blob, std::uint32_t n, std::string bytes) {
  if (jobs_.empty() || jobs_.front().blob.sha256 != blob) {
    ports_.unsubscribe(blob, {n});  // left over from before a restart
    return;
  }
  const Job& job = jobs_.front();
  const std::uint32_t expected = blob::chunk_bytes(job.blob.size, n);
  if (expected == 0 || bytes.size() != expected) {
    // Empty: the coordinator takes the blob away. It will say so with a cancel or another task.
    if (!bytes.empty()) {
      log::warn("fetch", "chunk {} of blob {} has {} bytes, not {}: ignored", n, blob.short_hex(), bytes.size(),
                expected);
    }
    return;
  }
  asked_.erase(n);
  arrived_.push_back(n);
  if (!job.have.has(n) && std::ranges::find(pending_, n, &FetchedChunk::n) == pending_.end()) {
    pending_.push_back({n, std::move(bytes)});
  }
  if (pending_.size() >= batch || job.have.present() + pending_.size() == job.have.count()) {
    flush();
  }
  pump();
}

void Fetcher::flush() {
  if (jobs_.empty() || pending_.empty()) {
    return;
  }
  Job& job = jobs_.front();
  const auto chunks = std::exchange(pending_, {});
  if (auto stored = ports_.store(job.blob, chunks); !stored) {
    log::error("fetch", "chunks cannot be stored: {}; trying again", stored.error().what);
    begin_over(retry_pause);
    return;
  }
  for (const FetchedChunk& chunk : chunks) {
    job.have.add(chunk.n);
  }
  ports_.progress(job.task, job.have.present(), job.have.count());
}

void Fetcher::pump() {
  while (!jobs_.empty() && jobs_.front().have.complete()) {
    const TaskId task = jobs_.front().task;
    leave_current();
    ports_.complete(task);
  }
  if (jobs_.empty() || !link_up_ || paused_ || asked_.size() > window / 2) {
    return;
  }
  ports_.unsubscribe(jobs_.front().blob.sha256, std::exchange(arrived_, {}));
  const std::vector<std::uint32_t> next = next_chunks();
  if (next.empty()) {
    return;
  }
  asked_.insert(next.begin(), next.end());
  watch();
  ports_.subscribe(next, [this, generation = generation_](const Result<>& outcome) {
    if (!outcome && generation == generation_ && link_up_) {
      log::warn("fetch", "asking for chunks: {}", outcome.error().what);
      begin_over(retry_pause);
    }
  });
}

std::vector<std::uint32_t> Fetcher::next_chunks() const {
  const Job& job = jobs_.front();
  std::vector<std::uint32_t> next;
  const auto at_most = static_cast<std::uint32_t>(window + pending_.size());
  for (const auto& [first, last] : job.have.missing(at_most)) {
    for (std::uint32_t n = first; n <= last && asked_.size() + next.size() < window; ++n) {
      if (!asked_.contains(n) && std::ranges::find(pending_, n, &FetchedChunk::n) == pending_.end()) {
        next.push_back(n);
      }
    }
  }
  return next;
}

void Fetcher::begin_over(seconds after) {
  ++generation_;
  if (!jobs_.empty()) {
    // Retained messages come only on a new subscription.
    ports_.unsubscribe(jobs_.front().blob.sha256, std::vector<std::uint32_t>(asked_.begin(), asked_.end()));
  }
  asked_.clear();
  paused_ = after.count() != 0;
  if (!paused_) {
    pump();
    return;
  }
  watchdog_.expires_after(after);
  watchdog_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      paused_ = false;
      pump();
    }
  });
}

void Fetcher::leave_current() {
  ++generation_;
  std::vector<std::uint32_t> topics(asked_.begin(), asked_.end());
  topics.insert(topics.end(), arrived_.begin(), arrived_.end());
  ports_.unsubscribe(jobs_.front().blob.sha256, std::move(topics));
  asked_.clear();
  arrived_.clear();
  pending_.clear();
  paused_ = false;
  watchdog_.cancel();
  jobs_.pop_front();
}

void Fetcher::watch() {
  watchdog_.expires_after(silence);
  watchdog_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      begin_over(seconds(0));
    }
  });
}

}  // namespace flops::agent
