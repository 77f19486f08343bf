// The one worker thread: decoding, summing, encoding and syncing files happen here, in the order they were posted. Jobs
// report back by posting to the loop. Bounded by its callers (one job an update, and the grants bound those).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

namespace flops::coordinator {

class Worker {
 public:
  explicit Worker(boost::asio::any_io_executor loop) : loop_(std::move(loop)), thread_([this] { run(); }) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // `work` on the worker's thread, then `done(result)` on the loop's.
  template <class Work, class Done>
  void submit(Work work, Done done) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back([this, work = std::move(work), done = std::move(done)]() mutable {
        auto result = std::make_shared<decltype(work())>(work());
        boost::asio::post(loop_, [done = std::move(done), result]() mutable { done(std::move(*result)); });
      });
    }
    wake_.notify_one();
  }

  // Finishes the current job, drops the rest, waits for the thread.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

 private:
  void run() {
    while (true) {
      std::move_only_function<void()> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) {
          return;
        }
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }

  boost::asio::any_io_executor loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::move_only_function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace flops::coordinator
