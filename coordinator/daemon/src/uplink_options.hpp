// How the coordinator of a site runs its uplink.
#pragma once

#include <string>

#include "flops/coordinator/config.hpp"
#include "flops/uplink/managed_uplink.hpp"

namespace flops::coordinator {

// `api_url`: of this coordinator.
[[nodiscard]] uplink::ManagedUplinkOptions uplink_options(const Config& config, std::string api_url);

}  // namespace flops::coordinator
