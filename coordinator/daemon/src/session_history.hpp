// Judges a device's states by their order. A process of the agent has a session of its own, random and new at every
// start, in which its states count up: a smaller number is a late or repeated message, and so is what a former session
// had said before. What is new of a former session means that two machines use one device's certificate: after a newer
// session an older one never comes back, unless both processes live and take each other's connection. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "flops/wire/messages.hpp"

namespace flops::coordinator {

class SessionHistory {
 public:
  enum class Verdict : std::uint8_t {
    newest,     // to be taken
    old,        // to be passed over
    came_back,  // to be taken: the session was replaced by another before, and says something new
  };

  [[nodiscard]] Verdict judge(const wire::DeviceState& state) {
    const bool numbered = state.sequence > 0;
    if (state.session == current_.session) {
      if (numbered && state.sequence < current_.newest) {
        return Verdict::old;
      }
      current_.newest = std::max(current_.newest, state.sequence);
      return Verdict::newest;
    }
    const auto known = std::ranges::find(former_, state.session, &Session::session);
    const bool former = known != former_.end();
    if (former && numbered && (!state.online || state.sequence <= known->newest)) {
      return Verdict::old;  // a replaced connection's will says nothing about the present one
    }
    // Only a session that is known to have been online replaces another.
    if (state.online || current_.session.empty()) {
      replace_current({state.session, state.sequence});
    }
    return former && state.online ? Verdict::came_back : Verdict::newest;
  }

 private:
  struct Session {
    std::string session;
    std::int64_t newest = 0;  // of its sequence
  };

  void replace_current(Session next) {
    std::erase_if(former_, [&](const Session& session) { return session.session == next.session; });
    if (!current_.session.empty()) {
      former_.push_back(std::move(current_));
    }
    if (former_.size() > most) {
      former_.pop_front();
    }
    current_ = std::move(next);
  }

  static constexpr std::size_t most = 4;  // machines that can be told apart
  Session current_;
  std::deque<Session> former_;
};

}  // namespace flops::coordinator
