#include <algorithm>
#include <cctype>
#include <ctime>
#include <initializer_list>
#include <tuple>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "flops/crypto/certificate.hpp"
#include "flops/crypto/digest.hpp"
#include "openssl.hpp"

namespace flops::crypto {
namespace {

using std::chrono::seconds;

constexpr long kVersion3 = 2;
constexpr int kSerialBits = 127;  // RFC 5280: positive, at most 20 octets; random against chosen-prefix collisions
constexpr seconds kMaxLifetime = std::chrono::hours(24 * 365 * 100);
// The clocks of a fleet differ, and the CA is used within seconds of its making.
constexpr seconds kCaBackdate = std::chrono::hours(24);
constexpr std::size_t kMaxDnsName = 253;

Result<> set_validity(X509* certificate, seconds backdate, seconds lifetime) {
  if (lifetime > kMaxLifetime || lifetime < -kMaxLifetime || backdate > kMaxLifetime || backdate < -kMaxLifetime ||
      lifetime + backdate <= seconds(0)) {
    return fail(ErrorKind::permanent, "a certificate must end after it begins and within a hundred years");
  }
  const std::time_t now = std::time(nullptr);
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), now - backdate.count()) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), now + lifetime.count()) == nullptr) {
    return openssl_failure(ErrorKind::permanent, "setting the validity of a certificate");
  }
  return {};
}

Result<> set_random_serial(X509* certificate) {
  const NumberPtr number(BN_new());
  if (!number || BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return openssl_failure(ErrorKind::permanent, "choosing a serial number");
  }
  return {};
}

struct ExtensionText {
  int nid;
  const char* value;
};

// The values are constants of this file: OpenSSL's little language never sees text from outside.
Result<> add_extensions(X509* certificate, X509* issuer, std::initializer_list<ExtensionText> extensions) {
  for (const ExtensionText& text : extensions) {
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_nconf_nid(nullptr, &context, text.nid, text.value));
    if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
      return openssl_failure(ErrorKind::permanent, fmt::format("adding {} to a certificate", OBJ_nid2sn(text.nid)));
    }
  }
  return {};
}

bool plausible_dns_name(std::string_view name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '*';
  };
  return !name.empty() && name.size() <= kMaxDnsName && std::ranges::all_of(name, allowed);
}

Result<GeneralNamePtr> general_name(const std::string& name) {
  GeneralNamePtr general(GENERAL_NAME_new());
  // The text is an IP address when it parses as one.
  StringPtr value(a2i_IPADDRESS(name.c_str()));
  int type = GEN_IPADD;
  if (!value) {
    if (!plausible_dns_name(name)) {
      return fail(ErrorKind::permanent, "'{}' is neither an IP address nor a host name", name);
    }
    type = GEN_DNS;
    value.reset(ASN1_STRING_type_new(V_ASN1_IA5STRING));
    if (!value || ASN1_STRING_set(value.get(), name.data(), static_cast<int>(name.size())) != 1) {
      return openssl_failure(ErrorKind::permanent, "making an alternative name");
    }
  }
  if (!general) {
    return openssl_failure(ErrorKind::permanent, "making an alternative name");
  }
  GENERAL_NAME_set0_value(general.get(), type, value.release());
  return general;
}

Result<> add_alternative_names(X509* certificate, const std::vector<std::string>& names) {
  const GeneralNamesPtr list(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    auto general = general_name(name);
    if (!general) {
      return fail(general.error());
    }
    if (!list || sk_GENERAL_NAME_push(list.get(), general->get()) <= 0) {
      return openssl_failure(ErrorKind::permanent, "collecting the alternative names");
    }
    std::ignore = general->release();  // the list owns it now
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) != 1) {
    return openssl_failure(ErrorKind::permanent, "adding the alternative names");
  }
  return {};
}

// Version, serial, names, key and validity; everything but extensions and signature.
Result<CertificatePtr> blank_certificate(std::string_view common_name, EVP_PKEY* key, seconds backdate,
                                         seconds lifetime) {
  CertificatePtr certificate(X509_new());
  auto name = name_from_common_name(common_name);
  if (!name) {
    return fail(name.error());
  }
  if (!certificate || X509_set_version(certificate.get(), kVersion3) != 1 ||
      X509_set_subject_name(certificate.get(), name->get()) != 1 || X509_set_pubkey(certificate.get(), key) != 1) {
    return openssl_failure(ErrorKind::permanent, "filling a certificate");
  }
  if (auto set = set_random_serial(certificate.get()); !set) {
    return fail(set.error());
  }
  if (auto set = set_validity(certificate.get(), backdate, lifetime); !set) {
    return fail(set.error());
  }
  return certificate;
}

// Issuers and their revocation lists are found by name: no two authorities have the same, whatever they ask for.
std::string unique(std::string_view name) {
  constexpr std::size_t longest = 47;  // with what follows 64 bytes, the most that a CN has
  return fmt::format("{} {}", name.substr(0, longest), base64url(random_bytes(12)));
}

Result<std::string> written(X509* certificate) {
  const BioPtr writer(BIO_new(BIO_s_mem()));
  if (!writer || PEM_write_bio_X509(writer.get(), certificate) != 1) {
    return openssl_failure(ErrorKind::resource, "writing a certificate");
  }
  return written_text(writer.get());
}

Result<std::string> sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, signing_digest(key)) == 0) {
    return openssl_failure(ErrorKind::permanent, "signing a certificate");
  }
  return written(certificate);
}

Result<> add_leaf_extensions(X509* certificate, X509* issuer, const IssueRequest& request) {
  const char* purpose = request.usage == Usage::client ? "clientAuth" : "serverAuth";
  auto added = add_extensions(certificate, issuer,
                              {{NID_basic_constraints, "critical,CA:FALSE"},
                               {NID_key_usage, "critical,digitalSignature"},
                               {NID_ext_key_usage, purpose},
                               {NID_subject_key_identifier, "hash"},
                               {NID_authority_key_identifier, "keyid:always"}});
  if (!added || request.names.empty()) {
    return added;
  }
  return add_alternative_names(certificate, request.names);
}

Result<> add_authority_extensions(X509* certificate, X509* issuer) {
  // Identifiers in this order: of a root the authority's is read from the subject's.
  // No authority in between: chains end with the one that is trusted, and an authority under it, perhaps one in bad
  // hands, makes no further ones, with names of its choice.
  return add_extensions(certificate, issuer,
                        {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                         {NID_key_usage, "critical,keyCertSign,cRLSign"},
                         {NID_subject_key_identifier, "hash"},
                         {NID_authority_key_identifier, "keyid:always"}});
}

}  // namespace

Result<CertificateAuthority> CertificateAuthority::create(std::string_view name, seconds lifetime) {
  auto key = PrivateKey::generate();
  if (!key) {
    return fail(key.error());
  }
  auto certificate = blank_certificate(name, key->native(), kCaBackdate, lifetime);
  if (!certificate) {
    return fail(certificate.error(), "making the CA certificate");
  }
  X509* native = certificate->get();
  if (X509_set_issuer_name(native, X509_get_subject_name(native)) != 1) {
    return openssl_failure(ErrorKind::permanent, "making the CA certificate");
  }
  if (auto added = add_authority_extensions(native, native); !added) {
    return fail(added.error());
  }
  auto pem = sign(native, key->native());
  if (!pem) {
    return fail(pem.error());
  }
  auto fingerprint = certificate_fingerprint(native);
  if (!fingerprint) {
    return fail(fingerprint.error());
  }
  return CertificateAuthority(*pem, *pem, std::move(*key), *fingerprint);
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view certificate_pem, std::string_view key_pem) {
  auto certificate = parse_certificate(certificate_pem);
  if (!certificate) {
    return fail(certificate.error(), "loading the CA");
  }
  auto key = PrivateKey::from_pem(key_pem);
  if (!key) {
    return fail(key.error(), "loading the CA");
  }
  if (X509_check_ca(certificate->get()) != 1) {
    return fail(ErrorKind::corrupt, "loading the CA: its certificate may not sign certificates (not CA:TRUE)");
  }
  if (X509_check_private_key(certificate->get(), key->native()) != 1) {
    return openssl_failure(ErrorKind::corrupt, "loading the CA: the private key does not belong to the certificate");
  }
  auto fingerprint = certificate_fingerprint(certificate->get());
  auto plain = written(certificate->get());
  if (!fingerprint || !plain) {
    return fail(fingerprint ? plain.error() : fingerprint.error());
  }
  const bool root = X509_check_issued(certificate->get(), certificate->get()) == X509_V_OK;
  auto trusted = root ? plain : trust_anchor(*plain);
  if (!trusted) {
    return fail(trusted.error());
  }
  return CertificateAuthority(*std::move(plain), *std::move(trusted), *std::move(key), *fingerprint);
}

bool issued_by(std::string_view pem, std::string_view ca_pem) {
  auto certificate = parse_certificate(pem);
  auto issuer = parse_certificate(ca_pem);
  const bool issued = certificate && issuer && X509_check_issued(issuer->get(), certificate->get()) == X509_V_OK &&
                      X509_verify(certificate->get(), X509_get0_pubkey(issuer->get())) == 1;
  ERR_clear_error();
  return issued;
}

Result<std::string> CertificateAuthority::issue_authority(std::string_view csr_pem, std::string_view name,
                                                          seconds lifetime) const {
  auto csr = parse_csr(csr_pem);
  auto issuer = csr ? parse_certificate(certificate_pem_) : Result<CertificatePtr>(fail(csr.error()));
  auto good_name = issuer ? name_from_common_name(name) : Result<NamePtr>(fail(issuer.error()));
  if (!good_name) {
    return fail(good_name.error(), "issuing an authority's certificate");
  }
  auto certificate = blank_certificate(unique(name), X509_REQ_get0_pubkey(csr->get()), kCaBackdate, lifetime);
  if (!certificate) {
    return fail(certificate.error(), "issuing an authority's certificate");
  }
  if (X509_set_issuer_name(certificate->get(), X509_get_subject_name(issuer->get())) != 1) {
    return openssl_failure(ErrorKind::permanent, "issuing an authority's certificate");
  }
  if (auto added = add_authority_extensions(certificate->get(), issuer->get()); !added) {
    return fail(added.error(), "issuing an authority's certificate");
  }
  return sign(certificate->get(), key_.native());
}

Result<std::string> CertificateAuthority::issue(std::string_view csr_pem, const IssueRequest& request) const {
  auto csr = parse_csr(csr_pem);
  if (!csr) {
    return fail(csr.error(), "issuing a certificate");
  }
  if (request.usage == Usage::server && request.names.empty()) {
    return fail(ErrorKind::permanent, "issuing a certificate: a server needs at least one host name or IP address");
  }
  auto issuer = parse_certificate(certificate_pem_);
  if (!issuer) {
    return fail(issuer.error());
  }
  auto certificate =
      blank_certificate(request.common_name, X509_REQ_get0_pubkey(csr->get()), request.backdate, request.lifetime);
  if (!certificate) {
    return fail(certificate.error(), "issuing a certificate");
  }
  if (X509_set_issuer_name(certificate->get(), X509_get_subject_name(issuer->get())) != 1) {
    return openssl_failure(ErrorKind::permanent, "issuing a certificate");
  }
  if (auto added = add_leaf_extensions(certificate->get(), issuer->get(), request); !added) {
    return fail(added.error(), "issuing a certificate");
  }
  return sign(certificate->get(), key_.native());
}

}  // namespace flops::crypto
