// Virtual time: what happens next, in the order of its time, and in the order of its planning at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "flops/core/clock.hpp"

namespace flops::sim {

class Timeline {
 public:
  using What = std::function<void()>;

  [[nodiscard]] SteadyTime now() const { return now_; }
  [[nodiscard]] double seconds() const { return Seconds(now_ - begin).count(); }
  [[nodiscard]] bool empty() const { return planned_.empty(); }

  // A time that has passed is now.
  void at(SteadyTime time, What what) { planned_.push({std::max(time, now_), ++count_, std::move(what)}); }
  void after(double seconds, What what) {
    at(now_ + std::chrono::duration_cast<SteadyTime::duration>(Seconds(seconds)), std::move(what));
  }

  // Moves on to the next one and lets it happen.
  void step() {
    Planned next = planned_.top();
    planned_.pop();
    now_ = next.time;
    next.what();
  }

 private:
  // Not zero, so that a time that was never set is in the past.
  static constexpr SteadyTime begin{std::chrono::hours(1)};

  struct Planned {
    SteadyTime time;
    std::uint64_t number;
    What what;

    bool operator<(const Planned& other) const {  // the queue's top is the largest
      return std::pair(other.time, other.number) < std::pair(time, number);
    }
  };
  SteadyTime now_ = begin;
  std::uint64_t count_ = 0;
  std::priority_queue<Planned> planned_;
};

}  // namespace flops::sim
