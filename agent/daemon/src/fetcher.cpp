#include "fetcher.hpp"

#include <algorithm>
#include <utility>

#include "flops/core/io.hpp"
#include "flops/core/log.hpp"
#include "flops/trainer/job.hpp"

namespace flops::agent {
namespace {

using std::chrono::seconds;

// A chunk that was lost (QoS 1 over a queue limit, a chunk not yet there) is asked for again.
constexpr seconds silence{30};
constexpr seconds retry_pause{5};

}  // namespace

Fetcher::Fetcher(const boost::asio::any_io_executor& loop, Ports ports)
    : ports_(std::move(ports)), watchdog_(loop), save_timer_(loop) {}

void Fetcher::start(const TaskId& task, const wire::BlobRef& blob, blob::ChunkSet have) {
  const auto known = std::ranges::find(jobs_, task, &Job::task);
  if (known != jobs_.end() && known->blob == blob) {
    pump();
    return;
  }
  stop(task);
  jobs_.push_back({task, blob, std::move(have), nullptr, {}, 0});
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
  save();
  jobs_.clear();
  watchdog_.cancel();
  save_timer_.cancel();
}

void Fetcher::link_up() {
  link_up_ = true;
  begin_over(seconds(0));
}

void Fetcher::link_down() {
  link_up_ = false;
  watchdog_.cancel();
  save();
}

void Fetcher::on_chunk(const Digest& blob, std::uint32_t n, std::string bytes) {
  if (jobs_.empty() || jobs_.front().blob.sha256 != blob) {
    ports_.unsubscribe(blob, {n});  // left over from before a restart
    return;
  }
  Job& job = jobs_.front();
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
  if (job.have.has(n)) {
    pump();
    return;
  }
  auto kept = ensure_file(job);
  kept = kept ? write_at(job.file->get(), std::uint64_t{n} * blob::chunk_size, std::as_bytes(std::span(bytes))) : kept;
  if (!kept) {
    log::error("fetch", "no room for blob {}: {}; trying again", blob.short_hex(), kept.error().what);
    begin_over(retry_pause);
    return;
  }
  job.have.add(n);
  job.unsaved.push_back(n);
  job.unsaved_bytes += bytes.size();
  if (!job.have.complete()) {
    if (job.unsaved_bytes >= save_bytes) {
      save();
    } else if (!save_pending_) {
      save_soon(save_after);
    }
  }
  pump();
}

// The file, with what was saved before.
Result<> Fetcher::ensure_file(Job& job) {
  if (job.file) {
    return {};
  }
  auto made = trainer::make_memfd("flops-blob", job.blob.size);
  if (!made) {
    return fail(made.error());
  }
  auto file = std::make_shared<Fd>(*std::move(made));
  if (job.have.present() > 0) {
    if (auto loaded = ports_.load(job.blob, file); !loaded) {
      log::warn("fetch", "blob {}: what was saved cannot be read: {}; it is fetched anew", job.blob.sha256.short_hex(),
                loaded.error().what);
      job.have = blob::ChunkSet(job.have.count());
    }
  }
  job.file = std::move(file);
  return {};
}

void Fetcher::save_soon(seconds after) {
  save_pending_ = true;
  save_timer_.expires_after(after);
  save_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) {
      save_pending_ = false;
      save();
    }
  });
}

void Fetcher::save() {
  if (jobs_.empty() || jobs_.front().unsaved.empty()) {
    return;
  }
  Job& job = jobs_.front();
  if (auto saved = ports_.save(job.blob, job.unsaved, job.file); !saved) {
    log::error("fetch", "chunks cannot be saved: {}; trying again", saved.error().what);
    save_soon(retry_pause);
    return;
  }
  job.unsaved.clear();
  job.unsaved_bytes = 0;
  ports_.progress(job.task, job.have.present(), job.have.count());
}

void Fetcher::complete_current() {
  Job& job = jobs_.front();
  if (auto there = ensure_file(job); !there) {
    log::error("fetch", "blob {}: {}; trying again", job.blob.sha256.short_hex(), there.error().what);
    begin_over(retry_pause);
    return;
  }
  if (!job.have.complete()) {
    return;  // what was saved is lost
  }
  const TaskId task = job.task;
  const SharedFd file = job.file;
  leave_current();
  ports_.complete(task, file);
}

void Fetcher::pump() {
  while (!paused_ && !jobs_.empty() && jobs_.front().have.complete()) {
    complete_current();
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
  std::vector<std::uint32_t> next;
  for (const auto& [first, last] : jobs_.front().have.missing(static_cast<std::uint32_t>(window))) {
    for (std::uint32_t n = first; n <= last && asked_.size() + next.size() < window; ++n) {
      if (!asked_.contains(n)) {
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
  paused_ = false;
  save_pending_ = false;
  watchdog_.cancel();
  save_timer_.cancel();
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
