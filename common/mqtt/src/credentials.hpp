// The TLS side of a client, in OpenSSL's own terms.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "flops/core/error.hpp"
#include "flops/health/clock_check.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::mqtt {

struct ContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, ContextFree>;

// A TLS 1.3 client that trusts the CA file, shows the certificate, and expects the broker's to name Options::host.
// permanent: a file is missing, no PEM, or key and certificate do not belong together.
[[nodiscard]] Result<Context> make_context(const Options& options);

// Empties this thread's OpenSSL error queue into one line of reasons; empty when there are none.
[[nodiscard]] std::string take_tls_errors();

// What this device's clock says, against the validity of the CA's and our own certificate, and of `peer`, the broker's,
// when its times are what was not accepted.
[[nodiscard]] health::ClockFinding check_clock(const Options& options, const X509* peer);

}  // namespace flops::mqtt
