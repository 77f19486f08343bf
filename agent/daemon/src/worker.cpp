#include "worker.hpp"

#include <utility>

#include <boost/asio/post.hpp>

namespace flops::agent {

Worker::Worker(boost::asio::any_io_executor loop) : loop_(std::move(loop)), thread_([this] { work(); }) {}

Worker::~Worker() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  wake_.notify_all();
  thread_.join();
}

void Worker::run(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return !jobs_.empty() || stopping_; });
    if (stopping_) {
      return;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    After after = job();
    job = {};  // what it held is released before the loop goes on
    boost::asio::post(loop_, std::move(after));
    lock.lock();
  }
}

}  // namespace flops::agent
