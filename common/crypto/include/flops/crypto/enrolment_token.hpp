// What an operator hands to a device: a secret, and the fingerprint of the fleet's CA so that the device's very first
// connection cannot be intercepted.
//
// Text form: "flops1." + base64url(16 random bytes) + "." + base64url(SHA-256 of the CA certificate). The
// coordinator stores only the SHA-256 of the secret.
#pragma once

#include <string>
#include <string_view>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::crypto {

struct EnrolmentToken {
  std::string secret;  // 16 bytes
  Digest ca_fingerprint;

  [[nodiscard]] static EnrolmentToken generate(const Digest& ca_fingerprint);
  [[nodiscard]] static Result<EnrolmentToken> parse(std::string_view text);  // denied when malformed
  [[nodiscard]] std::string text() const;
  [[nodiscard]] Digest secret_digest() const;
};

}  // namespace flops::crypto
