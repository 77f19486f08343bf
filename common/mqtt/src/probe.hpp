// Why a connection could not be made: libmosquitto does not say whether nobody listens, whose certificate was
// refused, or why. So after a failure one TLS handshake of our own looks closely, and is closed again.
#pragma once

#include <functional>

#include "address.hpp"
#include "flops/core/error.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

// addresses: of Options::host. denied: a certificate was refused, by us or by the broker; clock: because of this
// device's clock; transient: the rest. Takes a few seconds at most; ends soon after `stop` says so.
[[nodiscard]] Error find_reason(const Options& options, const Addresses& addresses, const std::function<bool()>& stop);

}  // namespace flops::mqtt
