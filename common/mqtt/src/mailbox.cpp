#include "mailbox.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

namespace flops::mqtt {
namespace {

// What an entry costs beside its text.
constexpr std::size_t overhead = 64;

std::size_t bytes_of(const Event& event) {
  const auto* message = std::get_if<Message>(&event);
  return message == nullptr ? 0 : message->payload.size() + message->topic.size() + overhead;
}

}  // namespace

void Mailbox::put(Event event) {
  const std::size_t bytes = bytes_of(event);
  std::unique_lock lock(mutex_);
  const auto fits = [&] { return closed_ || bytes == 0 || bytes_ == 0 || bytes_ + bytes <= capacity_bytes_; };
  if (!fits()) {
    waits_.fetch_add(1, std::memory_order_relaxed);
    room_.wait(lock, fits);
  }
  if (closed_) {
    return;
  }
  if (bytes > 0) {
    bytes_ += bytes;
    ++messages_;
    peak_messages_ = std::max<std::uint64_t>(peak_messages_, messages_);
    peak_bytes_ = std::max<std::uint64_t>(peak_bytes_, bytes_);
  }
  entries_.push_back({std::move(event), bytes});
  if (!scheduled_) {
    scheduled_ = true;
    schedule();
  }
}

void Mailbox::schedule() {
  boost::asio::post(loop_, [self = shared_from_this()] { self->deliver_batch(); });
}

void Mailbox::deliver_batch() {
  std::unique_lock lock(mutex_);
  for (int n = 0; n < batch && !closed_ && !entries_.empty(); ++n) {
    Entry entry = std::move(entries_.front());
    entries_.pop_front();
    bytes_ -= entry.bytes;
    messages_ -= entry.bytes > 0 ? 1U : 0U;
    lock.unlock();
    room_.notify_all();
    deliver_(std::move(entry.event));
    lock.lock();
  }
  scheduled_ = !closed_ && !entries_.empty();
  if (scheduled_) {
    // Other work of the loop gets its turn between batches.
    schedule();
  }
}

void Mailbox::close() {
  std::deque<Entry> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(entries_);
    bytes_ = 0;
    messages_ = 0;
  }
  room_.notify_all();
}

}  // namespace flops::mqtt
