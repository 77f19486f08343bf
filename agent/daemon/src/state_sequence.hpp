// The numbers of a device's states within its session (docs/protocol.md, DeviceState). The broker is given the will
// before the states of its connection are known, so each connection has a range of numbers and its will the last one:
// it is newer than every state of that connection and older than all that is said over the next one. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace flops::agent {

class StateSequence {
 public:
  // Years of states, one a second; and whoever reads JSON numbers as doubles keeps them exact for 2^25 connections.
  static constexpr std::int64_t per_connection = std::int64_t{1} << 28U;

  // An attempt to connect begins; the number of its will.
  [[nodiscard]] std::int64_t next_connection() {
    first_ += per_connection;
    said_ = 0;
    return first_ + per_connection - 1;
  }
  [[nodiscard]] std::int64_t next_state() {
    said_ = std::min(said_ + 1, per_connection - 2);
    return first_ + said_;
  }

 private:
  std::int64_t first_ = 0;
  std::int64_t said_ = 0;
};

}  // namespace flops::agent
