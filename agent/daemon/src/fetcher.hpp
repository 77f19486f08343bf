// Fetches blobs chunk by chunk: subscribes to exactly the missing topics, a few at a time, so that the broker never has
// more than a small window to send us. One blob at a time, the others wait.
//
// Chunks are gathered in an anonymous file. What takes long is saved as well, so that a restart goes on from there: at
// most `save_after` of waiting or `save_bytes` of data are lost. A blob that arrives faster never touches the disk.
// Loop's thread only.
#pragma once

#include <chrono>
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
#include "model_work.hpp"

namespace flops::agent {

class Fetcher {
 public:
  static constexpr std::size_t window = 16;  // chunks asked for and not here
  static constexpr std::chrono::seconds save_after{1};
  static constexpr std::uint64_t save_bytes = std::uint64_t{8} << 20U;

  struct Ports {
    std::function<void(std::vector<std::uint32_t>, std::function<void(Result<>)>)> subscribe;  // to blob's chunks
    std::function<void(const Digest&, std::vector<std::uint32_t>)> unsubscribe;
    // Saves these chunks, which `file` holds at their places.
    std::function<Result<>(const wire::BlobRef&, const std::vector<std::uint32_t>&, const SharedFd& file)> save;
    // Puts the saved chunks into `file`, at their places.
    std::function<Result<>(const wire::BlobRef&, const SharedFd& file)> load;
    std::function<void(const TaskId&, std::uint32_t done, std::uint32_t total)> progress;
    std::function<void(const TaskId&, const SharedFd& file)> complete;
  };

  Fetcher(const boost::asio::any_io_executor& loop, Ports ports);

  // `have` are the chunks saved already. No effect for a task that fetches this blob already.
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
    SharedFd file;                       // made when it is needed first
    std::vector<std::uint32_t> unsaved;  // in `file` only
    std::uint64_t unsaved_bytes = 0;
  };
  void pump();
  void complete_current();
  [[nodiscard]] Result<> ensure_file(Job& job);
  [[nodiscard]] std::vector<std::uint32_t> next_chunks() const;
  void save();
  void save_soon(std::chrono::seconds after);
  void begin_over(std::chrono::seconds after);  // asks again for what was asked
  void leave_current();
  void watch();

  Ports ports_;
  boost::asio::steady_timer watchdog_;
  boost::asio::steady_timer save_timer_;
  std::deque<Job> jobs_;                // front is the current one
  std::set<std::uint32_t> asked_;       // subscribed, not arrived
  std::vector<std::uint32_t> arrived_;  // to unsubscribe
  bool link_up_ = false;
  bool save_pending_ = false;
  bool paused_ = false;           // waits before it asks again
  std::uint64_t generation_ = 0;  // tells answers to old subscriptions apart
};

}  // namespace flops::agent
