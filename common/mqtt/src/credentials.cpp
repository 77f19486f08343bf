#include "credentials.hpp"

#include <cstdio>
#include <ctime>
#include <optional>
#include <vector>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "flops/core/clock.hpp"

namespace flops::mqtt {
namespace {

struct CertificateFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, CertificateFree>;
struct FileClose {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

Certificate first_certificate(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileClose> file(std::fopen(path.c_str(), "re"));
  return Certificate(file ? PEM_read_X509_AUX(file.get(), nullptr, nullptr, nullptr) : nullptr);
}

std::optional<std::int64_t> seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? std::optional<std::int64_t>(::timegm(&parts)) : std::nullopt;
}

// The broker must show a certificate for what it is called here: OpenSSL compares while it verifies.
bool expect_name(SSL_CTX* context, const std::string& host) {
  X509_VERIFY_PARAM* const verify = SSL_CTX_get0_param(context);
  const std::string number = host.substr(0, host.find('%'));  // no certificate knows our interfaces
  return X509_VERIFY_PARAM_set1_ip_asc(verify, number.c_str()) == 1 ||
         X509_VERIFY_PARAM_set1_host(verify, host.c_str(), host.size()) == 1;
}

// Server name indication (RFC 6066): the broker's name, never an address, whatever was set before.
void say_name(const SSL* ssl, int where, int) {
  if ((where & SSL_CB_HANDSHAKE_START) != 0) {
    SSL* const beginning = const_cast<SSL*>(ssl);
    SSL_ctrl(beginning, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             X509_VERIFY_PARAM_get0_host(SSL_get0_param(beginning), 0));
  }
}

std::unexpected<Error> unusable(std::string_view what, const std::filesystem::path& file) {
  return fail(ErrorKind::permanent, "{} {} cannot be used: {}", what, file.string(), take_tls_errors());
}

}  // namespace

std::string take_tls_errors() {
  std::string reasons;
  while (const unsigned long code = ERR_get_error()) {
    if (const char* reason = ERR_reason_error_string(code); reason != nullptr) {
      reasons += (reasons.empty() ? "" : ", ") + std::string(reason);
    }
  }
  return reasons;
}

Result<Context> make_context(const Options& options) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      !expect_name(context.get(), options.host)) {
    return fail(ErrorKind::resource, "TLS cannot be set up: {}", take_tls_errors());
  }
  if (SSL_CTX_load_verify_file(context.get(), options.ca_file.c_str()) != 1) {
    return unusable("CA file", options.ca_file);
  }
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate_file.c_str()) != 1) {
    return unusable("certificate file", options.certificate_file);
  }
  // Also checks that the key belongs to the certificate.
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable("key file", options.key_file);
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!options.intermediates) {
    SSL_CTX_set_verify_depth(context.get(), 0);
  }
  SSL_CTX_set_info_callback(context.get(), &say_name);
  // What libmosquitto writes may be taken in parts, and moves in between; idle connections keep no buffers.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  return context;
}

health::ClockFinding check_clock(const Options& options, const X509* peer) {
  std::vector<health::Validity> certificates;
  const auto add = [&](const X509* certificate, std::string_view whose) {
    const auto begin = certificate != nullptr ? seconds_of(X509_get0_notBefore(certificate)) : std::nullopt;
    const auto end = certificate != nullptr ? seconds_of(X509_get0_notAfter(certificate)) : std::nullopt;
    if (begin && end) {
      certificates.push_back({std::string(whose), *begin, *end});
    }
  };
  add(first_certificate(options.ca_file).get(), "the CA's certificate");
  add(first_certificate(options.certificate_file).get(), "this device's certificate");
  add(peer, "the broker's certificate");
  ERR_clear_error();
  return health::judge_clock(unix_ms(SystemClock().wall()) / 1000, certificates, options.newest_time_seen);
}

}  // namespace flops::mqtt
