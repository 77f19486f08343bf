// The configuration of the managed Mosquitto, as text. Pure.
//
// TLS 1.3 only, client certificates required, the certificate's CN is user name and client id, nothing anonymous, one
// ACL per device by pattern. The count limit of queues is out of reach, because Mosquitto drops silently at it: what
// may be queued is bounded by the protocol itself (commands expire, chunks are granted). It is a number and not 0, "no
// limit", because with 0 Mosquitto 2.0.11 cuts a client off after refusing one of its messages.
//
// mosquitto.conf(5)
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "flops/core/id.hpp"

namespace flops::broker {

struct MosquittoFiles {
  std::filesystem::path folder;  // holds all of the following
  [[nodiscard]] std::filesystem::path configuration() const { return folder / "mosquitto.conf"; }
  [[nodiscard]] std::filesystem::path acl() const { return folder / "acl"; }
  [[nodiscard]] std::filesystem::path ca() const { return folder / "ca.pem"; }
  [[nodiscard]] std::filesystem::path crl() const { return folder / "crl.pem"; }
  [[nodiscard]] std::filesystem::path certificate() const { return folder / "certificate.pem"; }
  [[nodiscard]] std::filesystem::path key() const { return folder / "key.pem"; }
  [[nodiscard]] std::filesystem::path log() const { return folder / "mosquitto.log"; }
};

// Names that are not devices: the coordinator itself, and a read-only account for people who want to look.
inline constexpr std::string_view coordinator_name = "coordinator";
inline constexpr std::string_view observer_name = "observer";

struct MosquittoSettings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8883;
  std::string user;  // the account it runs under
  std::size_t max_packet_bytes = 1U << 20U;
};

[[nodiscard]] std::string mosquitto_conf(const MosquittoFiles& files, const MosquittoSettings& settings);

// Devices that may do less than others.
struct Restrictions {
  std::set<DeviceId> quarantined;  // no models, no updates
  std::set<DeviceId> revoked;      // nothing
};
[[nodiscard]] std::string mosquitto_acl(const FleetId& fleet, const Restrictions& restrictions = {});

}  // namespace flops::broker
