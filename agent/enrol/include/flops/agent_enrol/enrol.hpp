// Joining the fleet (docs/protocol.md, "Enrolment"), and what a device keeps of it in <state>/identity/, apart from the
// database: key.pem (0600), certificate.pem, ca.pem, enrolment.json.
//
// The device makes its own key, which never leaves it. The CA is fetched without verification and compared with the
// fingerprint in the token; everything after that is verified against this CA alone. Blocking; for the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/health/clock_check.hpp"

namespace flops::agent {

struct Identity {
  DeviceId device;
  FleetId fleet;
  std::string coordinator;  // https://host:port
  std::string broker_host;
  std::uint16_t broker_port = 0;
  std::filesystem::path ca_file;
  std::filesystem::path certificate_file;
  std::filesystem::path key_file;
};

struct CertificateLife {
  std::int64_t not_before = 0;  // seconds since 1970
  std::int64_t not_after = 0;
};

[[nodiscard]] bool is_enrolled(const std::filesystem::path& state_folder);
// permanent: not enrolled. corrupt: a file is damaged; enrolling again with a new token repairs it.
[[nodiscard]] Result<Identity> load_identity(const std::filesystem::path& state_folder);
[[nodiscard]] Result<CertificateLife> certificate_life(const Identity& identity);
// Of the device's clock, by its own and the CA's certificate. `now` and `newest_seen` as health::judge_clock() takes
// them.
[[nodiscard]] health::ClockFinding check_clock(const Identity& identity, std::int64_t now, std::int64_t newest_seen);

// A site's own authority, which is to be one under the fleet's.
struct AuthorityFiles {
  std::filesystem::path request;      // a PKCS#10 request of the authority's key, PEM; read
  std::filesystem::path certificate;  // written, with the coordinator's answer, before the enrolment counts as done
};

// What enrols.
struct Applicant {
  DeviceId device;
  bool site = false;                                       // the uplink of a site; by its token it must be one
  std::optional<AuthorityFiles> authority = std::nullopt;  // only of a site
  bool new_key = false;                                    // in the place of the one there is, once that is enrolled
};

// A request for a new certificate for the device's key, to be sent as Renew. Errors as of load_identity().
[[nodiscard]] Result<std::string> renewal_request(const Identity& identity);
// Puts a new certificate in the place of the one there is. denied: it is not for this device and this key, is not from
// the fleet's CA, or ends before the one there is.
[[nodiscard]] Result<> accept_certificate(const Identity& identity, const std::string& certificate_pem);
// Fetches and accepts a new certificate over HTTPS: for a device whose certificate has expired, which the broker does
// not let in. Blocking, for half a minute at most. Errors as of enrol(), and of accept_certificate().
[[nodiscard]] Result<> renew_expired(const Identity& identity);

// denied: the token is malformed, unknown, used or expired, the CA is not the token's, another key holds this id, or
// the token is for sites and this is none, or the other way round; with `authority`, also when the coordinator gave no
// CA's certificate for its key.
// resource: the coordinator waits for somebody to approve this device; the same call asks again.
// transient: the coordinator cannot be reached or is not ready; clock: this device's clock is wrong. The same call may
// be repeated after both (the key is kept).
[[nodiscard]] Result<Identity> enrol(const std::filesystem::path& state_folder, const Applicant& applicant,
                                     const std::string& coordinator_url, const std::string& token);

}  // namespace flops::agent
