// X.509 v3 certificates (RFC 5280) of the fleet: a CA, authorities under it, short-lived client certificates whose CN
// is the device id, server certificates with subject alternative names.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/crypto/key.hpp"

namespace flops::crypto {

struct CertificateInfo {
  std::string common_name;
  std::string serial;       // lower-case hex
  std::int64_t not_before;  // seconds since 1970
  std::int64_t not_after;
  Digest fingerprint;  // SHA-256 of the DER encoding
  std::string public_key_digest;
  bool is_ca = false;
};
// Of the first certificate in `pem`, with or without marks of trust. corrupt when there is none, or its subject has not
// exactly one CN.
[[nodiscard]] Result<CertificateInfo> read_certificate(std::string_view pem);

// Whether the first certificate in `ca_pem` has issued the first one in `pem`, by name and signature.
[[nodiscard]] bool issued_by(std::string_view pem, std::string_view ca_pem);

// A CA's certificate as a trust store needs it: marked as trusted itself for TLS clients and servers ("TRUSTED
// CERTIFICATE", openssl-x509(1), -trustout), so that chains end with it. That of an authority under another one is then
// enough to verify what it has issued, and nothing that others under the same root have issued is accepted with it.
// corrupt: not the certificate of a CA.
[[nodiscard]] Result<std::string> trust_anchor(std::string_view ca_pem);

enum class Usage { client, server };

struct IssueRequest {
  std::string common_name;
  Usage usage = Usage::client;
  std::vector<std::string> names{};  // DNS names and IP addresses; a server needs at least one
  std::chrono::seconds lifetime{std::chrono::hours(24 * 30)};
  std::chrono::seconds backdate{std::chrono::minutes(5)};  // tolerates clocks that are behind
};

struct RevokedCertificate {
  std::string serial;
  std::int64_t revoked_at;  // seconds since 1970
};

class CertificateAuthority {
 public:
  // Self-signed, CA:TRUE with a path length of 0, keyCertSign + cRLSign, valid for `lifetime`.
  [[nodiscard]] static Result<CertificateAuthority> create(std::string_view name,
                                                           std::chrono::seconds lifetime = std::chrono::hours(24 *
                                                                                                              3650));
  // Of a certificate with or without marks of trust. corrupt when the key does not belong to it.
  [[nodiscard]] static Result<CertificateAuthority> load(std::string_view certificate_pem, std::string_view key_pem);

  [[nodiscard]] const std::string& certificate_pem() const { return certificate_pem_; }  // without marks of trust
  // What those need who trust it: a root's certificate as it is, that of an authority under another one as
  // trust_anchor() makes it.
  [[nodiscard]] const std::string& trust_pem() const { return trust_pem_; }
  [[nodiscard]] Result<std::string> key_pem() const { return key_.to_pem(); }
  [[nodiscard]] const Digest& fingerprint() const { return fingerprint_; }

  // Signs the public key of the request; the subject is request.common_name, whatever the CSR says.
  // permanent: what read_csr() refuses; a bad name; a validity that ends before it begins.
  [[nodiscard]] Result<std::string> issue(std::string_view csr_pem, const IssueRequest& request) const;
  // An authority under this one, of the key in the request: CA:TRUE with a path length of 0, keyCertSign + cRLSign. Its
  // CN is the first 47 bytes of the name and 16 random characters, unlike that of any other. Errors as of issue().
  [[nodiscard]] Result<std::string> issue_authority(std::string_view csr_pem, std::string_view name,
                                                    std::chrono::seconds lifetime = std::chrono::hours(24 *
                                                                                                       3650)) const;
  [[nodiscard]] bool has_issued(std::string_view pem) const { return issued_by(pem, certificate_pem_); }
  // PEM CRL valid for `lifetime`; an empty list is a valid CRL.
  [[nodiscard]] Result<std::string> revocation_list(const std::vector<RevokedCertificate>& revoked, std::int64_t number,
                                                    std::chrono::seconds lifetime = std::chrono::hours(24 *
                                                                                                       3650)) const;

 private:
  CertificateAuthority(std::string certificate_pem, std::string trust_pem, PrivateKey key, Digest fingerprint)
      : certificate_pem_(std::move(certificate_pem)),
        trust_pem_(std::move(trust_pem)),
        key_(std::move(key)),
        fingerprint_(fingerprint) {}
  std::string certificate_pem_;
  std::string trust_pem_;
  PrivateKey key_;
  Digest fingerprint_;
};

}  // namespace flops::crypto
