// From other threads to the loop, in order, bounded in bytes. Overflow policy: whoever brings a message waits until the
// loop has made room; other events are small, as many as operations under way, and never wait.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include <boost/asio/any_io_executor.hpp>

#include "event.hpp"

namespace flops::mqtt {

class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  Mailbox(boost::asio::any_io_executor loop, std::size_t capacity_bytes, std::function<void(Event)> deliver)
      : loop_(std::move(loop)), capacity_bytes_(capacity_bytes), deliver_(std::move(deliver)) {}

  // Any thread; messages from any but the loop's. A message larger than the whole capacity passes when the mailbox is
  // empty.
  void put(Event event);
  // The loop's thread: nothing is delivered any more, nobody waits any more.
  void close();
  [[nodiscard]] std::uint64_t waits() const { return waits_.load(std::memory_order_relaxed); }
  // The most messages, and the most bytes of messages, that ever waited. Bytes stay within the capacity, but for one
  // message larger than it.
  [[nodiscard]] std::uint64_t peak_messages() const { return peak_messages_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t peak_bytes() const { return peak_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    Event event;
    std::size_t bytes;
  };
  static constexpr int batch = 64;
  void deliver_batch();
  void schedule();

  const boost::asio::any_io_executor loop_;
  const std::size_t capacity_bytes_;
  const std::function<void(Event)> deliver_;
  std::atomic<std::uint64_t> waits_{0};
  std::atomic<std::uint64_t> peak_messages_{0};
  std::atomic<std::uint64_t> peak_bytes_{0};
  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<Entry> entries_;
  std::size_t bytes_ = 0;
  std::size_t messages_ = 0;
  bool scheduled_ = false;
  bool closed_ = false;
};

}  // namespace flops::mqtt
