// What the worker tells the loop.
#pragma once

#include <cstdint>
#include <variant>

#include "flops/core/error.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

// Counts connection attempts: an event of an earlier attempt is recognised and ignored.
using Attempt = std::uint64_t;
// Names one publish, subscribe or unsubscribe for its acknowledgement; never 0.
using Operation = std::uintptr_t;

struct Connected {
  Attempt attempt;
  bool session_present;
};
struct ConnectFailed {
  Attempt attempt;
  Error error;
};
struct Lost {
  Attempt attempt;
  Error error;
};
struct Disconnected {
  Attempt attempt;
};
struct Settled {
  Operation operation;
  Result<> result;
};

using Event = std::variant<Message, Connected, ConnectFailed, Lost, Disconnected, Settled>;

}  // namespace flops::mqtt
