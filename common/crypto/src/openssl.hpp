// OpenSSL's objects with owners, and its errors as ours. Private to this library.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::crypto {

template <auto Free>
struct Release {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using BioPtr = std::unique_ptr<BIO, Release<BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Release<X509_REQ_free>>;
using CertificatePtr = std::unique_ptr<X509, Release<X509_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, Release<X509_CRL_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, Release<X509_REVOKED_free>>;
using NamePtr = std::unique_ptr<X509_NAME, Release<X509_NAME_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Release<X509_EXTENSION_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Release<BN_free>>;
using IntegerPtr = std::unique_ptr<ASN1_INTEGER, Release<ASN1_INTEGER_free>>;
using StringPtr = std::unique_ptr<ASN1_STRING, Release<ASN1_STRING_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, Release<ASN1_TIME_free>>;
using GeneralNamePtr = std::unique_ptr<GENERAL_NAME, Release<GENERAL_NAME_free>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Release<GENERAL_NAMES_free>>;

// The reason on top of this thread's OpenSSL error queue; empties the queue.
[[nodiscard]] std::unexpected<Error> openssl_failure(ErrorKind kind, std::string_view doing);

// Reads from `text`, which must outlive it.
[[nodiscard]] BioPtr memory_reader(std::string_view text);
// What was written to a memory BIO.
[[nodiscard]] std::string written_text(BIO* bio);

// 1 to 64 bytes (the upper bound of RFC 5280) of UTF-8 without control characters; else permanent.
[[nodiscard]] Result<NamePtr> name_from_common_name(std::string_view common_name);
// permanent when there is not exactly one CN, or when it breaks the rule above.
[[nodiscard]] Result<std::string> common_name_of(const X509_NAME* name);

// Hex SHA-256 of the SubjectPublicKeyInfo in its canonical encoding.
[[nodiscard]] Result<std::string> public_key_digest(EVP_PKEY* key);
// Null for key types that hash by themselves (Ed25519).
[[nodiscard]] const EVP_MD* signing_digest(EVP_PKEY* key);

// All the checks of read_csr().
[[nodiscard]] Result<RequestPtr> parse_csr(std::string_view pem);
// The first certificate; corrupt when there is none or `pem` is larger than 64 KiB.
[[nodiscard]] Result<CertificatePtr> parse_certificate(std::string_view pem);
[[nodiscard]] Result<Digest> certificate_fingerprint(const X509* certificate);

}  // namespace flops::crypto
