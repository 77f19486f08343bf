// Tells that two machines use one device's certificate. A process of the agent has a session of its own, random and new
// at every start: after a newer one, an older one never comes back, unless both processes live and take each other's
// connection. Pure.
#pragma once

#include <algorithm>
#include <deque>
#include <string>

namespace flops::coordinator {

class SessionHistory {
 public:
  // True when `session` was replaced by another before.
  [[nodiscard]] bool came_back(const std::string& session) {
    if (session == current_) {
      return false;
    }
    const bool known = std::erase(former_, session) > 0;
    if (!current_.empty()) {
      former_.push_back(current_);
    }
    if (former_.size() > most) {
      former_.pop_front();
    }
    current_ = session;
    return known;
  }

 private:
  static constexpr std::size_t most = 4;  // machines that can be told apart
  std::string current_;
  std::deque<std::string> former_;
};

}  // namespace flops::coordinator
