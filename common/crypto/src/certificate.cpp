#include "flops/crypto/certificate.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <utility>

#include <openssl/pem.h>

#include "openssl.hpp"

namespace flops::crypto {
namespace {

constexpr std::size_t kMaxCertificatePem = 64U << 10U;

Result<std::int64_t> unix_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return openssl_failure(ErrorKind::corrupt, "reading the validity of a certificate");
  }
  return static_cast<std::int64_t>(::timegm(&parts));
}

Result<std::string> serial_hex(const X509* certificate) {
  const NumberPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* hex = number ? BN_bn2hex(number.get()) : nullptr;
  if (hex == nullptr) {
    return openssl_failure(ErrorKind::corrupt, "reading the serial number of a certificate");
  }
  std::string text(hex);
  OPENSSL_free(hex);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

Result<CertificatePtr> parse_certificate(std::string_view pem) {
  if (pem.size() > kMaxCertificatePem) {
    return fail(ErrorKind::corrupt, "a certificate in PEM is at most {} bytes, not {}", kMaxCertificatePem, pem.size());
  }
  const BioPtr reader = memory_reader(pem);
  CertificatePtr certificate(reader ? PEM_read_bio_X509_AUX(reader.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) {
    return openssl_failure(ErrorKind::corrupt, "reading a certificate (PEM is expected)");
  }
  return certificate;
}

Result<Digest> certificate_fingerprint(const X509* certificate) {
  std::array<std::uint8_t, Digest::size> bytes{};
  unsigned int length = 0;
  if (X509_digest(certificate, EVP_sha256(), bytes.data(), &length) != 1 || length != bytes.size()) {
    return openssl_failure(ErrorKind::corrupt, "hashing a certificate");
  }
  return Digest(bytes);
}

Result<CertificateInfo> read_certificate(std::string_view pem) {
  auto certificate = parse_certificate(pem);
  if (!certificate) {
    return fail(certificate.error());
  }
  X509* native = certificate->get();
  EVP_PKEY* key = X509_get0_pubkey(native);
  if (key == nullptr) {
    return openssl_failure(ErrorKind::corrupt, "reading the key of a certificate");
  }
  auto serial = serial_hex(native);
  auto not_before = unix_seconds(X509_get0_notBefore(native));
  auto not_after = unix_seconds(X509_get0_notAfter(native));
  auto fingerprint = certificate_fingerprint(native);
  auto key_digest = public_key_digest(key);
  auto name = common_name_of(X509_get_subject_name(native));
  for (const Error* error : {serial ? nullptr : &serial.error(), not_before ? nullptr : &not_before.error(),
                             not_after ? nullptr : &not_after.error(), fingerprint ? nullptr : &fingerprint.error(),
                             key_digest ? nullptr : &key_digest.error(), name ? nullptr : &name.error()}) {
    if (error != nullptr) {
      return fail(ErrorKind::corrupt, "certificate: {}", error->what);
    }
  }
  return CertificateInfo{.common_name = std::move(*name),
                         .serial = std::move(*serial),
                         .not_before = *not_before,
                         .not_after = *not_after,
                         .fingerprint = *fingerprint,
                         .public_key_digest = std::move(*key_digest),
                         .is_ca = X509_check_ca(native) == 1};
}

Result<std::string> trust_anchor(std::string_view ca_pem) {
  auto certificate = parse_certificate(ca_pem);
  if (!certificate) {
    return fail(certificate.error());
  }
  if (X509_check_ca(certificate->get()) != 1) {
    return fail(ErrorKind::corrupt, "only the certificate of a CA can be trusted to sign others (not CA:TRUE)");
  }
  const BioPtr writer(BIO_new(BIO_s_mem()));
  X509_trust_clear(certificate->get());
  for (const int use : {NID_server_auth, NID_client_auth}) {
    if (X509_add1_trust_object(certificate->get(), OBJ_nid2obj(use)) != 1) {
      return openssl_failure(ErrorKind::resource, "marking a certificate as trusted");
    }
  }
  if (!writer || PEM_write_bio_X509_AUX(writer.get(), certificate->get()) != 1) {
    return openssl_failure(ErrorKind::resource, "writing a certificate");
  }
  return written_text(writer.get());
}

}  // namespace flops::crypto
