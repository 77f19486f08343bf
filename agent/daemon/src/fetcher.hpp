// Fetches blobs chunk by chunk: subscribes to exactly the missing topics, a few at a time, so that the broker never has
// more than a small window to send us. One blob at a time, the others wait. Loop's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/blob/chunks.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/wire/messages.hpp"

namespace flops::agent {

struct FetchedChunk {
  std::uint32_t n = 0;
  std::string bytes;
};

class Fetcher {
 public:
  static constexpr std::size_t window = 8;
  static constexpr std::size_t batch = 4;  // chunks stored in one transaction

  struct Ports {
    std::function<void(std::vector<std::uint32_t>, std::function<void(Result<>)>)> subscribe;  // to blob's chunks
    std::function<void(const Digest&, std::vector<std::uint32_t>)> unsubscribe;
    std::function<Result<>(const wire::BlobRef&, const std::vector<FetchedChunk>&)> store;
    std::function<void(const TaskId&, std::uint32_t done, std::uint32_t total)> progress;
    std::function<void(const TaskId&)> complete;
  };

  Fetcher(const boost::asio::any_io_executor& loop, Ports ports);

  // `have` are the chunks stored already. No effect for a task that fetches this blob already.
  void start(const TaskId& task, const wire::BlobRef& blob, blob::ChunkSet have);
  void stop(const TaskId& task);
  void stop_all();
  void link_up();
  void link_down();
  // A message on a chunk's topic.
  void on_chunk(const Digest& blob, std::uint32_t n, std::string bytes);
  // The blob that is fetched now.
  [[nodiscard]] const wire::BlobRef* current() const { return jobs_.empty() ? nullptr : &jobs_.front().blob; }

 private:
  struct Job {
    TaskId task;
    wire::BlobRef blob;
    blob::ChunkSet have;
  };
  void pump();
  [[nodiscard]] std::vector<std::uint32_t> next_chunks() const;
  void flush();
  void begin_over(std::chrono::seconds after);  // asks again for what was asked
  void leave_current();
  void watch();

  Ports ports_;
  boost::asio::steady_timer watchdog_;
  std::deque<Job> jobs_;                // front is the current one
  std::set<std::uint32_t> asked_;       // subscribed, not arrived
  std::vector<std::uint32_t> arrived_;  // to unsubscribe
  std::vector<FetchedChunk> pending_;   // to store
  bool link_up_ = false;
  bool paused_ = false;           // waits before it asks again
  std::uint64_t generation_ = 0;  // tells answers to old subscriptions apart
};

}  // namespace flops::agent
