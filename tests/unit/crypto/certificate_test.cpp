#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <set>
#include <string>

#include <openssl/x509v3.h>

#include "flops/crypto/digest.hpp"
#include "support.hpp"

using namespace flops;
using namespace flops::crypto;
using namespace flops::crypto::test;
using namespace std::chrono_literals;

namespace {

bool critical(X509* certificate, int nid) {
  const int index = X509_get_ext_by_NID(certificate, nid, -1);
  return index >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, index)) == 1;
}

std::string server_certificate(const CertificateAuthority& ca, std::vector<std::string> names) {
  const std::string csr = must(make_csr(must(PrivateKey::generate()), "coordinator"));
  return must(ca.issue(csr, {.common_name = "coordinator", .usage = Usage::server, .names = std::move(names)}));
}

}  // namespace

TEST_CASE("ca: is a self-signed v3 certificate that may sign certificates and revocation lists only") {
  const CertificateAuthority ca = must(CertificateAuthority::create("FLOps Edge CA test"));
  const CertificateInfo info = must(read_certificate(ca.certificate_pem()));
  CHECK(info.common_name == "FLOps Edge CA test");
  CHECK(info.is_ca);
  CHECK(info.fingerprint == ca.fingerprint());
  CHECK(info.not_before < static_cast<std::int64_t>(std::time(nullptr)));
  CHECK(info.not_after - info.not_before > 3650LL * 24 * 3600);
  const Certificate native = certificate(ca.certificate_pem());
  CHECK(X509_get_version(native.get()) == 2);
  CHECK(X509_get_key_usage(native.get()) == (KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  CHECK(critical(native.get(), NID_basic_constraints));
  CHECK(critical(native.get(), NID_key_usage));
  CHECK(X509_self_signed(native.get(), 1) == 1);
}

TEST_CASE("ca: loads from its own files and goes on issuing") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const CertificateAuthority again = must(CertificateAuthority::load(ca.certificate_pem(), must(ca.key_pem())));
  CHECK(again.fingerprint() == ca.fingerprint());
  CHECK(verify(ca.certificate_pem(), client_certificate(again, "d"), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
}

TEST_CASE("ca: files that do not belong together are refused") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const CertificateAuthority other = must(CertificateAuthority::create("CA"));
  const PrivateKey key = must(PrivateKey::generate());
  const std::string leaf = must(ca.issue(must(make_csr(key, "d")), {.common_name = "d"}));
  const std::string ca_key = must(ca.key_pem());
  struct Row {
    const char* name;
    std::string certificate;
    std::string key;
    const char* reason;
  };
  const Row rows[] = {{"the key of another CA", ca.certificate_pem(), must(other.key_pem()), "does not belong"},
                      {"a certificate that is no CA", leaf, must(key.to_pem()), "CA:TRUE"},
                      {"no certificate", "", ca_key, "reading a certificate"},
                      {"no key", ca.certificate_pem(), "", "reading a private key"}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = CertificateAuthority::load(row.certificate, row.key);
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::corrupt);
      INFO(result.error().what);
      CHECK(result.error().what.find(row.reason) != std::string::npos);
    }
  }
}

TEST_CASE("issue: a client certificate verifies for clients only, under its own CA only") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const CertificateAuthority other = must(CertificateAuthority::create("CA"));
  const std::string pem = client_certificate(ca, "device-7");
  CHECK(verify(ca.certificate_pem(), pem, X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
  CHECK(verify(ca.certificate_pem(), pem, X509_PURPOSE_SSL_SERVER) == X509_V_ERR_INVALID_PURPOSE);
  CHECK(verify(other.certificate_pem(), pem, X509_PURPOSE_SSL_CLIENT) != X509_V_OK);
  const Certificate native = certificate(pem);
  CHECK(X509_get_version(native.get()) == 2);
  CHECK(X509_get_key_usage(native.get()) == KU_DIGITAL_SIGNATURE);
  CHECK(X509_get_extended_key_usage(native.get()) == XKU_SSL_CLIENT);
  CHECK(critical(native.get(), NID_basic_constraints));
  CHECK(critical(native.get(), NID_key_usage));
  CHECK(X509_get0_subject_key_id(native.get()) != nullptr);
  REQUIRE(X509_get0_authority_key_id(native.get()) != nullptr);
  const Certificate root = certificate(ca.certificate_pem());
  CHECK(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(native.get()), X509_get0_subject_key_id(root.get())) == 0);
}

TEST_CASE("issue: a server certificate carries host names and addresses") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string pem = server_certificate(ca, {"fleet.example.org", "10.1.2.3", "::1"});
  CHECK(verify(ca.certificate_pem(), pem, X509_PURPOSE_SSL_SERVER) == X509_V_OK);
  CHECK(verify(ca.certificate_pem(), pem, X509_PURPOSE_SSL_CLIENT) == X509_V_ERR_INVALID_PURPOSE);
  const Certificate native = certificate(pem);
  CHECK(X509_check_host(native.get(), "fleet.example.org", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(native.get(), "other.example.org", 0, 0, nullptr) == 0);
  CHECK(X509_check_ip_asc(native.get(), "10.1.2.3", 0) == 1);
  CHECK(X509_check_ip_asc(native.get(), "0:0:0:0:0:0:0:1", 0) == 1);
  CHECK(X509_check_ip_asc(native.get(), "10.1.2.4", 0) == 0);
}

TEST_CASE("issue: the subject is the coordinator's choice, not the request's") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const PrivateKey key = must(PrivateKey::generate());
  const std::string csr = must(make_csr(key, "admin"));
  const CertificateInfo info = must(read_certificate(must(ca.issue(csr, {.common_name = "device-1"}))));
  CHECK(info.common_name == "device-1");
  CHECK(!info.is_ca);
  CHECK(info.public_key_digest == must(read_csr(csr)).public_key_digest);
}

TEST_CASE("issue: the validity is what was asked for") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string csr = must(make_csr(must(PrivateKey::generate()), "d"));
  const auto before = static_cast<std::int64_t>(std::time(nullptr));
  const CertificateInfo info =
      must(read_certificate(must(ca.issue(csr, {.common_name = "d", .lifetime = 1h, .backdate = 10min}))));
  const auto after = static_cast<std::int64_t>(std::time(nullptr));
  CHECK(info.not_before >= before - 600);
  CHECK(info.not_before <= after - 600);
  CHECK(info.not_after - info.not_before == 4200);
}

TEST_CASE("issue: serial numbers are long and differ") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string csr = must(make_csr(must(PrivateKey::generate()), "d"));
  std::set<std::string> serials;
  for (int i = 0; i < 50; ++i) {
    const std::string serial = must(read_certificate(must(ca.issue(csr, {.common_name = "d"})))).serial;
    CHECK(serial.size() <= 32);
    CHECK(serial.size() >= 24);  // shorter happens once in 2^30
    CHECK(serial.find_first_not_of("0123456789abcdef") == std::string::npos);
    serials.insert(serial);
  }
  CHECK(serials.size() == 50);
}

TEST_CASE("issue: wrong orders are refused as permanent") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string csr = must(make_csr(must(PrivateKey::generate()), "d"));
  struct Row {
    const char* name;
    std::string csr;
    IssueRequest request;
  };
  const Row rows[] = {
      {"no request", "", {.common_name = "d"}},
      {"no name", csr, {.common_name = ""}},
      {"a name that is too long", csr, {.common_name = std::string(65, 'x')}},
      {"a name with a line break", csr, {.common_name = "a\nb"}},
      {"a server without names", csr, {.common_name = "d", .usage = Usage::server}},
      {"a host name with a space", csr, {.common_name = "d", .usage = Usage::server, .names = {"a b"}}},
      {"a host name that smuggles a second one",
       csr,
       {.common_name = "d", .usage = Usage::server, .names = {"a,DNS:b"}}},
      {"an empty host name", csr, {.common_name = "d", .usage = Usage::server, .names = {""}}},
      {"an end before the beginning", csr, {.common_name = "d", .lifetime = -1h, .backdate = 1h}},
      {"a thousand years", csr, {.common_name = "d", .lifetime = 24h * 365 * 1000}},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = ca.issue(row.csr, row.request);
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::permanent);
    }
  }
}

TEST_CASE("certificate: what is not a certificate is refused as corrupt") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string pem = ca.certificate_pem();
  for (const std::string& text : {std::string(), std::string("hello"), pem.substr(0, pem.size() / 2),
                                  must(ca.key_pem()), std::string(100'000, 'x')}) {
    const auto result = read_certificate(text);
    REQUIRE(!result.has_value());
    CHECK(result.error().kind == ErrorKind::corrupt);
  }
}

TEST_CASE("certificate: of a chain the first one is read") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const std::string leaf = client_certificate(ca, "d");
  CHECK(must(read_certificate(leaf + ca.certificate_pem())).common_name == "d");
}

TEST_CASE("ca: an authority under another one is enough to verify what it has issued, and nothing else") {
  const CertificateAuthority root = must(CertificateAuthority::create("root"));
  const CertificateAuthority site = authority(root, "site");
  const CertificateAuthority other = authority(root, "other");
  const std::string anchor = must(trust_anchor(site.certificate_pem()));
  CHECK(must(read_certificate(anchor)).fingerprint == site.fingerprint());
  CHECK(must(read_certificate(anchor)).is_ca);
  CHECK(verify(root.certificate_pem(), site.certificate_pem(), X509_PURPOSE_ANY) == X509_V_OK);
  CHECK(verify(anchor, client_certificate(site, "d"), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
  CHECK(verify(anchor, server_certificate(site, {"localhost"}), X509_PURPOSE_SSL_SERVER) == X509_V_OK);
  CHECK(verify(anchor, client_certificate(root, "d"), X509_PURPOSE_SSL_CLIENT) != X509_V_OK);
  CHECK(verify(anchor, client_certificate(other, "d"), X509_PURPOSE_SSL_CLIENT) != X509_V_OK);
  // A device's certificate is not one to issue others with.
  CHECK(verify(anchor, client_certificate(site, "d"), X509_PURPOSE_SSL_SERVER) != X509_V_OK);
  // Without the marks a chain has to end at the root.
  CHECK(verify(site.certificate_pem(), client_certificate(site, "d"), X509_PURPOSE_SSL_CLIENT) != X509_V_OK);
}

TEST_CASE("ca: an authority under another one makes no further ones, whatever name it gives them") {
  const CertificateAuthority root = must(CertificateAuthority::create("root"));
  const CertificateAuthority site = authority(root, "site");
  CHECK(must(read_certificate(site.certificate_pem())).common_name.starts_with("site "));
  CHECK(must(read_certificate(authority(root, "site").certificate_pem())).common_name !=
        must(read_certificate(site.certificate_pem())).common_name);
  CHECK(must(read_certificate(authority(root, std::string(64, 's')).certificate_pem())).common_name.size() == 64);
  const CertificateAuthority false_root = authority(site, "root");
  const std::string anchor = must(trust_anchor(site.certificate_pem()));
  const std::string chain = client_certificate(false_root, "coordinator") + false_root.certificate_pem();
  CHECK(verify_chain(root.certificate_pem(), chain + site.certificate_pem(), must(root.revocation_list({}, 1))) ==
        X509_V_ERR_PATH_LENGTH_EXCEEDED);
  CHECK(verify_chain(anchor, chain, must(site.revocation_list({}, 1))) == X509_V_ERR_PATH_LENGTH_EXCEEDED);
  // The root itself has none below it either.
  CHECK(verify_chain(root.certificate_pem(), client_certificate(site, "d") + site.certificate_pem(), "") ==
        X509_V_ERR_PATH_LENGTH_EXCEEDED);
}

TEST_CASE("ca: what an authority has issued it knows again, by the signature") {
  const CertificateAuthority one = must(CertificateAuthority::create("root"));
  const CertificateAuthority two = must(CertificateAuthority::create("root"));
  const std::string leaf = client_certificate(one, "d");
  CHECK(one.has_issued(leaf));
  CHECK(one.has_issued(leaf + one.certificate_pem()));
  CHECK_FALSE(two.has_issued(leaf));
  CHECK_FALSE(one.has_issued("hello"));
  CHECK(one.has_issued(authority(one, "site").certificate_pem()));
}

TEST_CASE("ca: authorities go as deep as there are levels") {
  const CertificateAuthority root = must(CertificateAuthority::create("root"));
  const CertificateAuthority country = authority(root, "country");
  const CertificateAuthority site = authority(country, "site");
  CHECK(verify(country.certificate_pem(), site.certificate_pem(), X509_PURPOSE_ANY) != X509_V_OK);  // not the root
  const std::string anchor = must(trust_anchor(site.certificate_pem()));
  CHECK(verify(anchor, client_certificate(site, "d"), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
  CHECK(verify(anchor, client_certificate(country, "d"), X509_PURPOSE_SSL_CLIENT) != X509_V_OK);
}

TEST_CASE("ca: only the certificate of a CA becomes an anchor of trust, and marks are not doubled") {
  const CertificateAuthority ca = must(CertificateAuthority::create("CA"));
  const auto leaf = trust_anchor(client_certificate(ca, "d"));
  REQUIRE(!leaf.has_value());
  CHECK(leaf.error().kind == ErrorKind::corrupt);
  CHECK(!trust_anchor("hello").has_value());
  const std::string anchor = must(trust_anchor(ca.certificate_pem()));
  CHECK(must(trust_anchor(anchor)) == anchor);
  CHECK(verify(anchor, client_certificate(ca, "d"), X509_PURPOSE_SSL_CLIENT) == X509_V_OK);
}

TEST_CASE("ca: an authority's certificate is not issued for a request that is none") {
  const CertificateAuthority root = must(CertificateAuthority::create("root"));
  CHECK(!root.issue_authority("hello", "site").has_value());
  CHECK(!root.issue_authority(must(make_csr(must(PrivateKey::generate()), "site")), "").has_value());
}
