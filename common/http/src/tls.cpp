#include "tls.hpp"

#include <ctime>
#include <memory>
#include <optional>
#include <vector>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>

#include "flops/core/clock.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/health/clock_check.hpp"

namespace flops::http {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

constexpr std::string_view kPemHeader = "-----BEGIN ";  // of a certificate, perhaps one with marks of trust

std::optional<std::int64_t> unix_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? std::optional<std::int64_t>(::timegm(&parts)) : std::nullopt;
}

// By the certificates that the server sent.
health::ClockFinding judge_clock(const SSL* session, const std::string& host) {
  std::vector<health::Validity> certificates;
  const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(session);
  for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
    const X509* certificate = sk_X509_value(chain, i);
    const auto begin = unix_seconds(X509_get0_notBefore(certificate));
    const auto end = unix_seconds(X509_get0_notAfter(certificate));
    if (begin && end) {
      certificates.push_back({"the certificate of " + host, *begin, *end});
    }
  }
  return health::judge_clock(unix_ms(SystemClock().wall()) / 1000, certificates, 0);
}

bool is_address(const std::string& host) {
  error_code error;
  boost::asio::ip::make_address(host, error);
  return !error;
}

Result<std::shared_ptr<ssl::context>> tls13_context(ssl::context::method method) {
  try {
    auto context = std::make_shared<ssl::context>(method);
    if (SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_3_VERSION) != 1) {
      return fail(ErrorKind::bug, "this OpenSSL does not know TLS 1.3");
    }
    return context;
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "setting up TLS: {}", error.what());
  }
}

Result<> check_root(std::string_view ca_pem) {
  const auto root = crypto::read_certificate(ca_pem);
  if (!root) {
    return fail(ErrorKind::permanent, "the CA to trust: {}", root.error().what);
  }
  if (!root->is_ca) {
    return fail(ErrorKind::permanent, "the CA to trust: '{}' is not the certificate of a CA", root->common_name);
  }
  if (ca_pem.find(kPemHeader, ca_pem.find(kPemHeader) + 1) != std::string_view::npos) {
    return fail(ErrorKind::permanent, "the CA to trust: one certificate is expected, not several");
  }
  return {};
}

// Asio's own way would not read the marks of trust (crypto::trust_anchor()).
Result<> trust(SSL_CTX* context, std::string_view ca_pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> reader(
      BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size())), BIO_free);
  const std::unique_ptr<X509, decltype(&X509_free)> root(
      reader ? PEM_read_bio_X509_AUX(reader.get(), nullptr, nullptr, nullptr) : nullptr, X509_free);
  if (!root || X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorKind::permanent, "the CA to trust cannot be used");
  }
  // What authorities under it have issued, those of sites, is not the fleet's own.
  SSL_CTX_set_verify_depth(context, 0);
  return {};
}

}  // namespace

Result<std::shared_ptr<ssl::context>> server_context(std::string_view certificate_pem, std::string_view key_pem) {
  auto context = tls13_context(ssl::context::tls_server);
  if (!context) {
    return context;
  }
  // Reads both as ours does: OpenSSL would ask for the password of an encrypted key on the terminal.
  const auto certificate = crypto::read_certificate(certificate_pem);
  const auto key = crypto::PrivateKey::from_pem(key_pem);
  if (!certificate || !key) {
    return fail(ErrorKind::permanent, "the server's certificate: {}",
                certificate ? key.error().what : certificate.error().what);
  }
  error_code error;
  SSL_CTX* native = (*context)->native_handle();
  (*context)->use_certificate_chain(boost::asio::buffer(certificate_pem), error);
  if (error) {
    return fail(ErrorKind::permanent, "the server's certificate: {}", error.message());
  }
  if (SSL_CTX_use_PrivateKey(native, key->native()) != 1 || SSL_CTX_check_private_key(native) != 1) {
    ERR_clear_error();
    return fail(ErrorKind::permanent, "the server's certificate: the private key does not belong to it");
  }
  // Nothing here resumes a session, and tickets would keep keys alive beyond a change of certificate.
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(native, 0);
  return context;
}

Result<std::shared_ptr<ssl::context>> client_context(std::string_view ca_pem, bool verify) {
  auto context = tls13_context(ssl::context::tls_client);
  if (!context) {
    return context;
  }
  error_code error;
  (*context)->set_verify_mode(verify ? ssl::verify_peer : ssl::verify_none, error);
  if (verify) {
    if (auto checked = check_root(ca_pem); !checked) {
      return fail(checked.error());
    }
    if (auto trusted = trust((*context)->native_handle(), ca_pem); !trusted) {
      return fail(trusted.error());
    }
  }
  if (error) {
    return fail(ErrorKind::permanent, "the CA to trust: {}", error.message());
  }
  return context;
}

Result<> expect_host(SSL* session, const std::string& host, bool verify) {
  X509_VERIFY_PARAM* rules = SSL_get0_param(session);
  bool ok = true;
  if (is_address(host)) {
    ok = !verify || X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str()) == 1;
  } else {
    std::string name = host;  // SSL_ctrl takes no constants
    ok = SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) == 1 &&
         (!verify || X509_VERIFY_PARAM_set1_host(rules, host.c_str(), host.size()) == 1);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  }
  if (!ok) {
    ERR_clear_error();
    return fail(ErrorKind::permanent, "'{}' cannot be the name of a TLS server", host);
  }
  return {};
}

Result<> certificate_verdict(SSL* session, const std::string& host) {
  const long verdict = SSL_get_verify_result(session);
  switch (verdict) {
    case X509_V_OK: return {};
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED: {
      // OpenSSL looks at the times of a certificate after its signature, the issuer's first.
      const auto finding = judge_clock(session, host);
      return fail(finding.clock_is_wrong() ? ErrorKind::clock : ErrorKind::denied, "the certificate of {} {}: {}", host,
                  verdict == X509_V_ERR_CERT_HAS_EXPIRED ? "has expired" : "is not yet valid", finding.text);
    }
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fail(ErrorKind::denied, "the certificate of {} was issued for other names: use one of these", host);
    default:
      return fail(ErrorKind::denied, "the certificate of {} is not trusted: {}", host,
                  X509_verify_cert_error_string(verdict));
  }
}

}  // namespace flops::http
