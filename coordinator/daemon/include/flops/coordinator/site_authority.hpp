// A site's own certificate authority, issued by that of the coordinator above (docs/protocol.md, "Sites").
#pragma once

#include "flops/coordinator/config.hpp"
#include "flops/core/error.hpp"

namespace flops::coordinator {

// Before Coordinator::start(). Nothing to do without parent.url, or when the state folder has an authority. Else a key
// is made (<state>/ca.key), and the uplink enrols with it above until that is done: without a token, or while the
// coordinator above is away, it is tried again for as long as it takes, and the log says why. What is written then is
// <state>/ca.pem. Blocks; with a loop of its own.
// False: SIGINT or SIGTERM came first. permanent: the state folder is in use; resource and permanent: files.
[[nodiscard]] Result<bool> await_authority(const Config& config);

}  // namespace flops::coordinator
