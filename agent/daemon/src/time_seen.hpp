// The newest time at which this device's clock was known to be right, in Storage's meta table. Seconds since 1970.
#pragma once

#include <cstdint>

#include "flops/agent_storage/storage.hpp"

namespace flops::agent {

// 0: never, or not to be read.
[[nodiscard]] std::int64_t stored_time_seen(Storage& storage);
[[nodiscard]] Result<> store_time_seen(Storage& storage, std::int64_t now);

}  // namespace flops::agent
