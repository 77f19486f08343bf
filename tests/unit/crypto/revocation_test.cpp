#include <doctest/doctest.h>

#include <ctime>
#include <string>

#include <openssl/x509v3.h>

#include "support.hpp"

using namespace flops;
using namespace flops::crypto;
using namespace flops::crypto::test;

namespace {

std::string serial_of(const std::string& pem) {
  return must(read_certificate(pem)).serial;
}

}  // namespace

TEST_CASE("crl: a revoked certificate no longer verifies, the others do") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string good = client_certificate(ca, "good");
  const std::string lost = client_certificate(ca, "lost");
  const std::string stolen = client_certificate(ca, "stolen");
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  const std::string list = must(ca.revocation_list({{serial_of(lost), now}, {serial_of(stolen), now - 86400}}, 7));
  const std::string& root = ca.certificate_pem();
  CHECK(verify(root, good, X509_PURPOSE_SSL_CLIENT, list) == X509_V_OK);
  CHECK(verify(root, lost, X509_PURPOSE_SSL_CLIENT, list) == X509_V_ERR_CERT_REVOKED);
  CHECK(verify(root, stolen, X509_PURPOSE_SSL_CLIENT, list) == X509_V_ERR_CERT_REVOKED);
}

TEST_CASE("crl: an empty list is a list: version 2, numbered, signed by the CA") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string pem = must(ca.revocation_list({}, 42));
  CHECK(verify(ca.certificate_pem(), client_certificate(ca, "d"), X509_PURPOSE_SSL_CLIENT, pem) == X509_V_OK);
  const Crl list = crl(pem);
  CHECK(X509_CRL_get_version(list.get()) == 1);
  const std::unique_ptr<ASN1_INTEGER, Release<ASN1_INTEGER_free>> number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list.get(), NID_crl_number, nullptr, nullptr)));
  REQUIRE(number);
  CHECK(ASN1_INTEGER_get(number.get()) == 42);
  CHECK(X509_CRL_get_ext_by_NID(list.get(), NID_authority_key_identifier, -1) >= 0);
  const Certificate root = certificate(ca.certificate_pem());
  CHECK(X509_CRL_verify(list.get(), X509_get0_pubkey(root.get())) == 1);
}

TEST_CASE("crl: wrong orders are refused as permanent") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  for (const char* serial : {"", "xyz", "-1", "12 34", "0x12", "00112233445566778899aabbccddeeff001122334455"}) {
    CAPTURE(serial);
    const auto result = ca.revocation_list({{serial, 0}}, 1);
    REQUIRE(!result.has_value());
    CHECK(result.error().kind == ErrorKind::permanent);
    CHECK(result.error().what.find("serial number") != std::string::npos);
  }
  CHECK(!ca.revocation_list({}, -1).has_value());
  CHECK(!ca.revocation_list({}, 1, std::chrono::seconds(0)).has_value());
}
