// Steps that could not be recorded, in order, until the storage works again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "flops/core/id.hpp"

namespace flops::agent {

class Postponed {
 public:
  // Of those that come again by themselves; the others are a few a task.
  static constexpr std::size_t max_repeatable = 64;
  using Step = std::function<void()>;

  enum class Kind {
    own,         // nobody would say it again
    repeatable,  // the coordinator says it again, to a device that says hello
  };
  // `of`: whose later steps have to wait behind this one.
  void add(Kind kind, Step step, std::optional<TaskId> of = std::nullopt) {
    if (kind == Kind::repeatable && ++repeatable_ > max_repeatable) {
      dropped_ = true;
      return;
    }
    steps_.push_back({std::nullopt, kind == Kind::own ? std::move(of) : std::nullopt, std::move(step)});
  }
  [[nodiscard]] bool holds(const TaskId& task) const {
    return std::ranges::find(steps_, task, &Waiting::of) != steps_.end();
  }
  // The arrival of a task: one a task, and a cancelled one does not arrive any more.
  void add_arrival(const TaskId& task, Step step) {
    forget_arrival(task);
    if (++repeatable_ > max_repeatable) {
      dropped_ = true;
      return;
    }
    steps_.push_back({task, std::nullopt, std::move(step)});
  }
  void forget_arrival(const TaskId& task) {
    std::erase_if(steps_, [&](const Waiting& step) { return step.arrival == task; });
  }

  [[nodiscard]] bool empty() const { return steps_.empty(); }
  // Whether something repeatable was dropped since the last call.
  [[nodiscard]] bool take_dropped() { return std::exchange(dropped_, false); }
  [[nodiscard]] std::vector<Step> take() {
    std::vector<Step> steps;
    for (Waiting& waiting : std::exchange(steps_, {})) {
      steps.push_back(std::move(waiting.step));
    }
    repeatable_ = 0;
    return steps;
  }

 private:
  struct Waiting {
    std::optional<TaskId> arrival;
    std::optional<TaskId> of;
    Step step;
  };
  std::vector<Waiting> steps_;
  std::size_t repeatable_ = 0;
  bool dropped_ = false;
};

}  // namespace flops::agent
