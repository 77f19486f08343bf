// One thread for what would hold up the loop: decoding, encoding, digests. It owns nothing; jobs get descriptors.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include <boost/asio/any_io_executor.hpp>

namespace flops::agent {

class Worker {
 public:
  using After = std::function<void()>;
  // Runs on the worker's thread; what it returns runs on the loop.
  using Job = std::function<After()>;

  explicit Worker(boost::asio::any_io_executor loop);
  ~Worker();  // drops waiting jobs, waits for the running one
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // As many as there are tasks at most, so the queue needs no limit of its own.
  void run(Job job);
  // Long jobs look at this and end early.
  [[nodiscard]] const std::atomic<bool>& stopping() const { return stopping_; }
  void stop() { stopping_ = true; }

 private:
  void work();

  boost::asio::any_io_executor loop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace flops::agent
