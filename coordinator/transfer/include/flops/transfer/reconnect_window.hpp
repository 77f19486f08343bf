// Pace steering: over which time the devices of a fleet that lost its broker spread their coming back. Each draws its
// moment uniformly (agent/daemon/src/reconnect_pace.hpp), so that on average `rate` of them connect a second. The
// window follows the devices that are known, not those that are online: that number is small just when it matters.
// Bonawitz et al., Towards Federated Learning at Scale: System Design (MLSys 2019), section 2.3.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace flops::transfer {

inline constexpr std::chrono::seconds shortest_reconnect_window{1};

[[nodiscard]] constexpr std::chrono::seconds reconnect_window(std::int64_t devices, std::int64_t rate,
                                                              std::chrono::seconds longest) {
  const std::int64_t per_second = std::max<std::int64_t>(rate, 1);
  const std::int64_t count = std::max<std::int64_t>(devices, 0);
  const std::chrono::seconds even(count / per_second + (count % per_second != 0 ? 1 : 0));
  return std::clamp(even, shortest_reconnect_window, std::max(longest, shortest_reconnect_window));
}

}  // namespace flops::transfer
