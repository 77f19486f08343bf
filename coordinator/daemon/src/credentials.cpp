#include "credentials.hpp"

#include <chrono>

#include <unistd.h>

#include "flops/broker/mosquitto_config.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/health/clock_check.hpp"

namespace flops::coordinator {
namespace {

constexpr auto server_lifetime = std::chrono::hours(24 * 397);
constexpr unsigned secret_mode = 0600;

Result<crypto::CertificateAuthority> load_or_make_ca(const Config& config) {
  const auto certificate_file = config.state_folder / "ca.pem";
  const auto key_file = config.state_folder / "ca.key";
  if (std::filesystem::exists(certificate_file)) {
    auto certificate = read_file(certificate_file);
    auto key = read_file(key_file);
    if (!certificate || !key) {
      return fail(certificate ? key.error() : certificate.error(), "reading the CA");
    }
    return crypto::CertificateAuthority::load(*certificate, *key);
  }
  auto ca = crypto::CertificateAuthority::create(fmt::format("FLOps Edge CA {}", config.fleet));
  if (!ca) {
    return fail(ca.error(), "making the CA");
  }
  auto key = ca->key_pem();
  if (!key) {
    return fail(key.error());
  }
  // The key first: a certificate without its key would be taken for a complete CA at the next start.
  if (auto written = replace_file(key_file, *key, secret_mode); !written) {
    return fail(written.error());
  }
  if (auto written = replace_file(certificate_file, ca->certificate_pem()); !written) {
    return fail(written.error());
  }
  log::info("ca", "made the CA of fleet {}", config.fleet);
  return ca;
}

std::int64_t unix_seconds() {
  return unix_ms(std::chrono::system_clock::now()) / 1000;
}

// Certificates that are made before the time is set would have expired once it is. True: keep those there are.
bool clock_is_behind(const crypto::CertificateAuthority& ca) {
  auto info = crypto::read_certificate(ca.certificate_pem());
  if (!info) {
    return false;
  }
  const health::Validity validity{"the fleet's CA", info->not_before, info->not_after};
  const auto finding = health::judge_clock(unix_seconds(), {&validity, 1}, 0);
  if (finding.verdict != health::ClockVerdict::behind) {
    return false;
  }
  log::error("ca", "{}; devices are not let in until then, and this program has to be started again", finding.text);
  return true;
}

bool still_good(const crypto::CertificateAuthority& ca, const std::filesystem::path& file, std::int64_t now) {
  auto pem = read_file(file);
  if (!pem) {
    return false;
  }
  auto info = crypto::read_certificate(*pem);
  // One from a time when the clock was ahead is of no use until that comes.
  return info && ca.has_issued(*pem) && info->not_before <= now &&
         info->not_after - now > (info->not_after - info->not_before) / 3;
}

Result<> ensure_certificate(const crypto::CertificateAuthority& ca, const std::filesystem::path& certificate_file,
                            const std::filesystem::path& key_file, const crypto::IssueRequest& request, bool keep,
                            std::int64_t now) {
  if ((keep ? std::filesystem::exists(certificate_file) : still_good(ca, certificate_file, now)) &&
      std::filesystem::exists(key_file)) {
    return {};
  }
  auto key = crypto::PrivateKey::generate();
  if (!key) {
    return fail(key.error());
  }
  auto csr = crypto::make_csr(*key, request.common_name);
  auto key_pem = key->to_pem();
  if (!csr || !key_pem) {
    return fail(csr ? key_pem.error() : csr.error());
  }
  auto certificate = ca.issue(*csr, request);
  if (!certificate) {
    return fail(certificate.error());
  }
  if (auto made = make_folder(certificate_file.parent_path(), 0700); !made) {
    return made;
  }
  if (auto written = replace_file(key_file, *key_pem, secret_mode); !written) {
    return written;
  }
  return replace_file(certificate_file, *certificate + ca.certificate_pem());
}

std::vector<std::string> server_names(const Config& config) {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0') {
    names.emplace_back(host);
  }
  for (const std::string* name :
       {&config.api.address, &config.api.public_host, &config.broker.address, &config.broker.public_host}) {
    if (!name->empty() && *name != "0.0.0.0" && *name != "::" &&
        std::find(names.begin(), names.end(), *name) == names.end()) {
      names.push_back(*name);
    }
  }
  return names;
}

// Those of the coordinator itself. `keep`: whatever there is, because the clock is behind.
Result<> ensure_certificates(const Config& config, const crypto::CertificateAuthority& ca, bool keep,
                             std::int64_t now) {
  const auto& folder = config.state_folder;
  crypto::IssueRequest server{"flops-coordinator", crypto::Usage::server, server_names(config), server_lifetime, {}};
  server.backdate = std::chrono::minutes(5);
  if (auto made = ensure_certificate(ca, folder / "server.pem", folder / "server.key", server, keep, now); !made) {
    return fail(made.error(), "making the server certificate");
  }
  for (const std::string_view name : {broker::coordinator_name, broker::observer_name}) {
    const crypto::IssueRequest client{
        std::string(name), crypto::Usage::client, {}, server_lifetime, std::chrono::minutes(5)};
    const auto own = folder / name;
    if (auto made = ensure_certificate(ca, own / "certificate.pem", own / "key.pem", client, keep, now); !made) {
      return fail(made.error(), fmt::format("making the certificate of '{}'", name));
    }
  }
  return {};
}

Result<> read_server(const Config& config, Credentials& credentials) {
  auto certificate = read_file(config.state_folder / "server.pem");
  auto key = read_file(config.state_folder / "server.key");
  if (!certificate || !key) {
    return fail(certificate ? key.error() : certificate.error());
  }
  credentials.server_certificate = *std::move(certificate);
  credentials.server_key = *std::move(key);
  return {};
}

}  // namespace

Result<Credentials> load_or_make_credentials(const Config& config) {
  auto ca = load_or_make_ca(config);
  if (!ca) {
    return fail(ca.error());
  }
  // Names may have changed with the configuration: a server certificate costs nothing to make anew.
  std::error_code ignored;
  const bool behind = clock_is_behind(*ca);
  if (!behind) {
    std::filesystem::remove(config.state_folder / "server.pem", ignored);
  }
  if (auto made = ensure_certificates(config, *ca, behind, unix_seconds()); !made) {
    return fail(made.error());
  }
  Credentials credentials{*std::move(ca), {}, {}};
  if (auto read = read_server(config, credentials); !read) {
    return fail(read.error());
  }
  return credentials;
}

Result<bool> renew_credentials(const Config& config, Credentials& credentials, std::int64_t now) {
  if (clock_is_behind(credentials.ca)) {
    return false;
  }
  const std::string before = credentials.server_certificate;
  auto made = ensure_certificates(config, credentials.ca, false, now);
  auto read = made ? read_server(config, credentials) : made;
  return read ? Result<bool>(credentials.server_certificate != before) : fail(read.error());
}

}  // namespace flops::coordinator
