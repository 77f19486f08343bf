#include "reconnect_pace.hpp"

#include <utility>

namespace flops::agent {
namespace {

using std::chrono::milliseconds;

// More would overflow nothing yet, and both caps are reached before.
constexpr int most_doublings = 16;

milliseconds doubled(milliseconds start, int times, milliseconds cap) {
  return std::min(cap, start * (std::int64_t{1} << std::min(times, most_doublings)));
}

}  // namespace

void ReconnectPace::ended(const LinkLife& life) {
  stay_away_ = life.taken_over;
  if (life.taken_over) {
    takeovers_ = std::min(takeovers_ + 1, most_doublings);
  } else if (life.lasted >= stable) {
    doublings_ = 0;
    takeovers_ = 0;
  } else {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(life.working).count();
    doublings_ -= static_cast<int>(std::min<std::int64_t>(doublings_, seconds));
  }
}

ReconnectPace::Range ReconnectPace::advance() {
  if (std::exchange(stay_away_, false)) {
    const milliseconds ceiling = doubled(takeover_first, takeovers_ - 1, takeover_longest);
    return {ceiling / 2, ceiling};
  }
  const milliseconds ceiling = std::max<milliseconds>(window_, doubled(shortest, doublings_, longest));
  doublings_ = std::min(doublings_ + 1, most_doublings);
  return {milliseconds(1), ceiling};
}

}  // namespace flops::agent
