#include "openssl.hpp"

#include <algorithm>
#include <climits>
#include <cstdint>
#include <span>
#include <utility>

#include <openssl/err.h>
#include <openssl/objects.h>

#include "flops/crypto/digest.hpp"

namespace flops::crypto {
namespace {

constexpr std::size_t kMaxCommonName = 64;

Result<> check_common_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxCommonName) {
    return fail(ErrorKind::permanent, "a common name has 1 to {} bytes, not {}", kMaxCommonName, name.size());
  }
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::ranges::any_of(name, control)) {
    return fail(ErrorKind::permanent, "a common name has no control characters");
  }
  return {};
}

}  // namespace

std::unexpected<Error> openssl_failure(ErrorKind kind, std::string_view doing) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason != nullptr ? reason : "no reason given";
  ERR_clear_error();
  return fail(kind, "{}: {}", doing, text);
}

BioPtr memory_reader(std::string_view text) {
  if (text.size() > static_cast<std::size_t>(INT_MAX)) {
    return nullptr;
  }
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string written_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

Result<NamePtr> name_from_common_name(std::string_view common_name) {
  if (auto checked = check_common_name(common_name); !checked) {
    return fail(checked.error());
  }
  NamePtr name(X509_NAME_new());
  const std::string text(common_name);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (!name || X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8, bytes,
                                          static_cast<int>(text.size()), -1, 0) != 1) {
    return openssl_failure(ErrorKind::permanent, "making the name of a certificate");
  }
  return name;
}

Result<std::string> common_name_of(const X509_NAME* name) {
  const int first = name == nullptr ? -1 : X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (first < 0) {
    return fail(ErrorKind::permanent, "the subject has no common name");
  }
  if (X509_NAME_get_index_by_NID(name, NID_commonName, first) >= 0) {
    return fail(ErrorKind::permanent, "the subject has more than one common name");
  }
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, first)));
  if (size < 0) {
    return openssl_failure(ErrorKind::permanent, "reading the common name");
  }
  std::string text(utf8, utf8 + size);
  OPENSSL_free(utf8);
  if (auto checked = check_common_name(text); !checked) {
    return fail(checked.error());
  }
  return text;
}

Result<std::string> public_key_digest(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) {
    return openssl_failure(ErrorKind::permanent, "encoding a public key");
  }
  const Digest digest = sha256(std::as_bytes(std::span(der, static_cast<std::size_t>(size))));
  OPENSSL_free(der);
  return digest.hex();
}

const EVP_MD* signing_digest(EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") == 1 ? nullptr : EVP_sha256();
}

}  // namespace flops::crypto
