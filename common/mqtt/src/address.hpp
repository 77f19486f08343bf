// Where a broker is, by name.
#pragma once

#include <memory>

#include <netdb.h>

#include "flops/core/error.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

struct AddressesFree {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, AddressesFree>;

// Waits for the name server. transient: the name is not known.
[[nodiscard]] Result<Addresses> resolve(const Options& options);

}  // namespace flops::mqtt
