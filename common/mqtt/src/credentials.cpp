#include "credentials.hpp"

#include <cstdio>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

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
  return Certificate(file ? PEM_read_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
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
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1) {
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
  return context;
}

std::string describe_clock(const Options& options) {
  std::string text = fmt::format("this device's clock says {}", iso8601(unix_ms(SystemClock().wall())));
  const Certificate ca = first_certificate(options.ca_file);
  const Certificate own = first_certificate(options.certificate_file);
  const auto starts_later = [](const Certificate& certificate) {
    return certificate && X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0;
  };
  if (starts_later(ca) || starts_later(own)) {
    text += ", which is before its certificates were made: the clock is not set";
  } else if (own && X509_cmp_current_time(X509_get0_notAfter(own.get())) < 0) {
    text += ", which is after its certificate expired: renew it, or set the clock";
  }
  ERR_clear_error();
  return text;
}

}  // namespace flops::mqtt
