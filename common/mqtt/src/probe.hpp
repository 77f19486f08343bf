// Why a connection could not be made: libmosquitto does not say whether nobody listens, whose certificate was
// refused, or why. So after a failure one TLS handshake of our own looks closely, and is closed again.
#pragma once

#include <functional>

#include "flops/core/error.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

// denied: a certificate was refused, by us or by the broker; clock: because of this device's clock; transient: the
// rest. Takes a few seconds at most, beside what the resolver takes; ends soon after `stop` says so.
[[nodiscard]] Error find_reason(const Options& options, const std::function<bool()>& stop);

}  // namespace flops::mqtt
