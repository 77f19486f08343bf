// When a device comes back to the broker. Pure: no clock, no socket; the link tells what happened and draws the wait.
//
// Every wait is uniform in (0, ceiling] (full jitter, see flops/core/backoff.hpp). The ceiling of the first wait is the
// reconnect window of the coordinator's status, which grows with the fleet, so that a fleet that lost its broker at one
// instant comes back evenly spread; at least a second, which is all a small fleet waits. After n failures the ceiling
// is 2^n seconds, at most a minute, but never less than the window.
//
// What makes the ceiling small again is a link that works, not one that is merely accepted: for each second since the
// coordinator's status arrived over it, one doubling is taken back, and after ten seconds all of them, status or not.
// So a broker that is restarted a few times costs a device little, and one that accepts and drops the link at once,
// before or after the status, is asked less and less often: such a link has taken back nothing.
//
// A link that another machine with the same identity took over is different: coming back means taking it over in turn,
// and so on without end. The broker says so, or the coordinator has said before that it sees two. The device stays away
// for half to a whole minute, the next time twice as long, up to an hour. Only a link that lasted and ended otherwise
// makes that forgotten.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace flops::agent {

// How a link went.
struct LinkLife {
  std::chrono::milliseconds lasted{0};   // since the broker's CONNACK
  std::chrono::milliseconds working{0};  // since the coordinator's status arrived over it; 0: it did not
  bool taken_over = false;               // by another client with this identity
};

class ReconnectPace {
 public:
  static constexpr std::chrono::milliseconds shortest{1'000};
  static constexpr std::chrono::milliseconds longest{60'000};
  static constexpr std::chrono::milliseconds stable{10'000};
  static constexpr std::chrono::milliseconds takeover_first{60'000};
  static constexpr std::chrono::milliseconds takeover_longest{3'600'000};

  void set_window(std::chrono::seconds window) { window_ = window; }
  void ended(const LinkLife& life);

  // Before the first connection of a process: all devices of a site may have got their power back at the same instant.
  // Nothing in a small fleet.
  template <class Random>
  [[nodiscard]] std::chrono::milliseconds before_first(Random& random) const {
    return window_ > shortest ? draw(std::chrono::milliseconds(1), window_, random) : std::chrono::milliseconds(0);
  }
  // After a link that ended or an attempt that failed.
  template <class Random>
  [[nodiscard]] std::chrono::milliseconds next(Random& random) {
    const Range range = advance();
    return draw(range.from, range.to, random);
  }

 private:
  struct Range {
    std::chrono::milliseconds from, to;  // both included
  };
  template <class Random>
  static std::chrono::milliseconds draw(std::chrono::milliseconds from, std::chrono::milliseconds to, Random& random) {
    return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(from.count(), to.count())(random));
  }
  Range advance();

  std::chrono::milliseconds window_{0};
  int doublings_ = 0;
  int takeovers_ = 0;
  bool stay_away_ = false;  // the last link was taken over
};

}  // namespace flops::agent
