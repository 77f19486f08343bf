#include <array>
#include <utility>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "flops/crypto/key.hpp"
#include "openssl.hpp"

namespace flops::crypto {
namespace {

constexpr std::size_t kMaxCsrPem = 8U << 10U;
constexpr int kMinRsaBits = 2048;
constexpr long kVersion1 = 0;  // the only one PKCS#10 knows

bool strong_curve(EVP_PKEY* key) {
  // A curve spelled out in parameters may have a generator of the attacker's choice.
  int spelled_out = 0;
  EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelled_out);
  std::array<char, 64> group{};
  std::size_t length = 0;
  if (spelled_out != 0 || EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) != 1) {
    return false;
  }
  const std::string_view name(group.data(), length);
  return name == "prime256v1" || name == "P-256" || name == "secp384r1" || name == "P-384";
}

bool strong(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    return strong_curve(key);
  }
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    return EVP_PKEY_get_bits(key) >= kMinRsaBits;
  }
  return EVP_PKEY_is_a(key, "ED25519") == 1;
}

}  // namespace

Result<std::string> make_csr(const PrivateKey& key, std::string_view common_name) {
  auto name = name_from_common_name(common_name);
  if (!name) {
    return fail(name.error(), "making a certificate request");
  }
  const RequestPtr request(X509_REQ_new());
  const BioPtr writer(BIO_new(BIO_s_mem()));
  EVP_PKEY* native = key.native();
  if (!request || !writer || X509_REQ_set_version(request.get(), kVersion1) != 1 ||
      X509_REQ_set_subject_name(request.get(), name->get()) != 1 || X509_REQ_set_pubkey(request.get(), native) != 1 ||
      X509_REQ_sign(request.get(), native, signing_digest(native)) == 0 ||
      PEM_write_bio_X509_REQ(writer.get(), request.get()) != 1) {
    return openssl_failure(ErrorKind::permanent, "making a certificate request");
  }
  return written_text(writer.get());
}

Result<RequestPtr> parse_csr(std::string_view pem) {
  if (pem.size() > kMaxCsrPem) {
    return fail(ErrorKind::permanent, "a certificate request is at most {} bytes, not {}", kMaxCsrPem, pem.size());
  }
  const BioPtr reader = memory_reader(pem);
  RequestPtr request(reader ? PEM_read_bio_X509_REQ(reader.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!request) {
    return openssl_failure(ErrorKind::permanent, "reading a certificate request (PKCS#10 in PEM is expected)");
  }
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr) {
    return openssl_failure(ErrorKind::permanent, "reading the key of a certificate request");
  }
  // Before the signature: the check would do the attacker's arithmetic.
  if (!strong(key)) {
    ERR_clear_error();
    return fail(ErrorKind::permanent,
                "the key of the certificate request is too weak or of an unknown kind: make it ECDSA on P-256 or "
                "P-384, Ed25519, or RSA with at least {} bits",
                kMinRsaBits);
  }
  if (X509_REQ_verify(request.get(), key) != 1) {
    return openssl_failure(ErrorKind::permanent, "the certificate request is not signed by its own key");
  }
  if (auto name = common_name_of(X509_REQ_get_subject_name(request.get())); !name) {
    return fail(name.error(), "certificate request");
  }
  return request;
}

Result<Csr> read_csr(std::string_view pem) {
  auto request = parse_csr(pem);
  if (!request) {
    return fail(request.error());
  }
  auto name = common_name_of(X509_REQ_get_subject_name(request->get()));
  auto digest = public_key_digest(X509_REQ_get0_pubkey(request->get()));
  if (!name || !digest) {
    return fail(name ? digest.error() : name.error());
  }
  return Csr{std::move(*name), std::move(*digest)};
}

}  // namespace flops::crypto
