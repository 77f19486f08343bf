// Private keys and certificate requests. Keys are ECDSA on P-256: small, fast on ARM, and accepted by every
// TLS 1.3 peer (Ed25519 certificates are not).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

struct evp_pkey_st;

namespace flops::crypto {

class PrivateKey {
 public:
  [[nodiscard]] static Result<PrivateKey> generate();
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem);  // corrupt when it is no key
  [[nodiscard]] Result<std::string> to_pem() const;                        // PKCS#8, unencrypted
  [[nodiscard]] evp_pkey_st* native() const { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// PKCS#10 request with subject CN=`common_name`, PEM.
[[nodiscard]] Result<std::string> make_csr(const PrivateKey& key, std::string_view common_name);

struct Csr {
  std::string common_name;
  std::string public_key_digest;  // hex SHA-256 of the SubjectPublicKeyInfo: recognises a key again
};
// permanent: not a request, larger than 8 KiB, self-signature wrong, no or more than one CN, weak key
// (only P-256 and P-384 ECDSA, Ed25519, RSA >= 2048 pass).
[[nodiscard]] Result<Csr> read_csr(std::string_view pem);

}  // namespace flops::crypto
