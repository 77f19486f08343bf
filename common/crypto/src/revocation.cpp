#include <algorithm>
#include <cctype>
#include <ctime>
#include <tuple>
#include <utility>

#include <openssl/pem.h>

#include "flops/crypto/certificate.hpp"
#include "openssl.hpp"

namespace flops::crypto {
namespace {

constexpr long kVersion2 = 1;
constexpr std::size_t kMaxSerialDigits = 40;  // 20 octets
constexpr std::time_t kBackdate = 300;        // a reader's clock may be behind

Result<IntegerPtr> serial_from_hex(const std::string& hex) {
  const auto is_digit = [](unsigned char c) { return std::isxdigit(c) != 0; };
  if (hex.empty() || hex.size() > kMaxSerialDigits || !std::ranges::all_of(hex, is_digit)) {
    return fail(ErrorKind::permanent, "a serial number has 1 to {} hexadecimal digits", kMaxSerialDigits);
  }
  BIGNUM* raw = nullptr;
  const int digits = BN_hex2bn(&raw, hex.c_str());
  const NumberPtr number(raw);
  IntegerPtr serial(digits > 0 ? BN_to_ASN1_INTEGER(number.get(), nullptr) : nullptr);
  if (!serial) {
    return openssl_failure(ErrorKind::permanent, "reading a serial number");
  }
  return serial;
}

Result<> add_entry(X509_CRL* list, const RevokedCertificate& certificate) {
  auto serial = serial_from_hex(certificate.serial);
  if (!serial) {
    return fail(serial.error());
  }
  RevokedPtr entry(X509_REVOKED_new());
  const TimePtr date(ASN1_TIME_set(nullptr, static_cast<std::time_t>(certificate.revoked_at)));
  if (!entry || !date || X509_REVOKED_set_serialNumber(entry.get(), serial->get()) != 1 ||
      X509_REVOKED_set_revocationDate(entry.get(), date.get()) != 1 || X509_CRL_add0_revoked(list, entry.get()) != 1) {
    return openssl_failure(ErrorKind::permanent, "adding a certificate to the revocation list");
  }
  std::ignore = entry.release();  // the list owns it now
  return {};
}

Result<> add_number_and_authority(X509_CRL* list, X509* issuer, std::int64_t number) {
  const IntegerPtr value(ASN1_INTEGER_new());
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, nullptr, nullptr, list, 0);
  const ExtensionPtr authority(X509V3_EXT_nconf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
  if (!value || !authority || ASN1_INTEGER_set_int64(value.get(), number) != 1 ||
      X509_CRL_add1_ext_i2d(list, NID_crl_number, value.get(), 0, X509V3_ADD_DEFAULT) != 1 ||
      X509_CRL_add_ext(list, authority.get(), -1) != 1) {
    return openssl_failure(ErrorKind::permanent, "numbering the revocation list");
  }
  return {};
}

Result<CrlPtr> blank_list(X509* issuer, std::chrono::seconds lifetime) {
  CrlPtr list(X509_CRL_new());
  const std::time_t now = std::time(nullptr);
  const TimePtr from(ASN1_TIME_set(nullptr, now - kBackdate));
  const TimePtr until(ASN1_TIME_set(nullptr, now + lifetime.count()));
  if (!list || !from || !until || X509_CRL_set_version(list.get(), kVersion2) != 1 ||
      X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer)) != 1 ||
      X509_CRL_set1_lastUpdate(list.get(), from.get()) != 1 || X509_CRL_set1_nextUpdate(list.get(), until.get()) != 1) {
    return openssl_failure(ErrorKind::permanent, "beginning a revocation list");
  }
  return list;
}

}  // namespace

Result<std::string> CertificateAuthority::revocation_list(const std::vector<RevokedCertificate>& revoked,
                                                          std::int64_t number, std::chrono::seconds lifetime) const {
  if (number < 0 || lifetime <= std::chrono::seconds(0)) {
    return fail(ErrorKind::permanent, "a revocation list has a number from 0 up and a positive lifetime");
  }
  auto issuer = parse_certificate(certificate_pem_);
  if (!issuer) {
    return fail(issuer.error());
  }
  auto list = blank_list(issuer->get(), lifetime);
  if (!list) {
    return fail(list.error());
  }
  for (const RevokedCertificate& certificate : revoked) {
    if (auto added = add_entry(list->get(), certificate); !added) {
      return fail(added.error(), "revocation list");
    }
  }
  if (auto added = add_number_and_authority(list->get(), issuer->get(), number); !added) {
    return fail(added.error());
  }
  const BioPtr writer(BIO_new(BIO_s_mem()));
  if (!writer || X509_CRL_sort(list->get()) != 1 ||
      X509_CRL_sign(list->get(), key_.native(), signing_digest(key_.native())) == 0 ||
      PEM_write_bio_X509_CRL(writer.get(), list->get()) != 1) {
    return openssl_failure(ErrorKind::permanent, "signing the revocation list");
  }
  return written_text(writer.get());
}

}  // namespace flops::crypto
