// The fleet's CA and the coordinator's own certificates, in <state>/: made at the first start, server certificates
// renewed when less than a third of their life is left.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "flops/coordinator/config.hpp"
#include "flops/crypto/certificate.hpp"

namespace flops::coordinator {

struct Credentials {
  crypto::CertificateAuthority ca;
  std::string server_certificate;  // for API and broker, with the CA's appended
  std::string server_key;
};

// Files: ca.pem, ca.key (0600), server.pem, server.key, coordinator/{certificate,key}.pem for the coordinator's own
// MQTT session and observer/{certificate,key}.pem for people with mosquitto_sub.
[[nodiscard]] Result<Credentials> load_or_make_credentials(const Config& config);
// While the coordinator runs: certificates that have less than a third of their life left at `now` (seconds since 1970)
// are made anew, also in `credentials`. True when the server's is another one now. Nothing is done while the clock is
// behind.
[[nodiscard]] Result<bool> renew_credentials(const Config& config, Credentials& credentials, std::int64_t now);

}  // namespace flops::coordinator
