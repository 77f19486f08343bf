// Threads for what takes time. Jobs start in the order they were submitted; who needs a result waits for its future.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace flops::sim {

class Pool {
 public:
  // `work` runs with the number of its thread, from 0 on.
  explicit Pool(int threads) {
    for (int n = 0; n < threads; ++n) {
      threads_.emplace_back([this, n] { run(n); });
    }
  }
  // Ends the jobs at work; those that have not begun are dropped, and their futures broken.
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] std::size_t threads() const { return threads_.size(); }

  template <class Work>
  [[nodiscard]] auto submit(Work work) -> std::future<decltype(work(0))> {
    auto task = std::make_shared<std::packaged_task<decltype(work(0))(int)>>(std::move(work));
    auto future = task->get_future();
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back([task](int thread) { (*task)(thread); });
    }
    wake_.notify_one();
    return future;
  }

 private:
  void run(int thread) {
    while (true) {
      std::function<void(int)> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (stopping_) {
          return;
        }
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job(thread);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void(int)>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // last: they start when everything else is there
};

}  // namespace flops::sim
