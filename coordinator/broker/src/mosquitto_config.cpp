#include "flops/broker/mosquitto_config.hpp"

#include <fmt/format.h>

namespace flops::broker {

std::string mosquitto_conf(const MosquittoFiles& files, const MosquittoSettings& settings) {
  std::string conf = fmt::format(
      "# Written by flops-coordinator at every start; changes are lost.\n"
      "listener {} {}\n"
      "cafile {}\n"
      "certfile {}\n"
      "keyfile {}\n"
      "crlfile {}\n"
      "require_certificate true\n"
      "use_identity_as_username true\n"
      "tls_version tlsv1.3\n"
      "allow_anonymous false\n"
      "acl_file {}\n",
      settings.port, settings.address, files.ca().string(), files.certificate().string(), files.key().string(),
      files.crl().string(), files.acl().string());
  conf += fmt::format(
      "use_username_as_clientid true\n"
      "max_packet_size {}\n"
      "max_queued_messages 1000000000\n"
      "max_queued_bytes 0\n"
      "max_inflight_messages 64\n"
      "max_keepalive 600\n"
      "persistent_client_expiration 14d\n"
      "set_tcp_nodelay true\n"
      "persistence true\n"
      "persistence_location {}/\n"
      "autosave_interval 300\n"
      "log_dest stderr\n"
      "log_type error\n"
      "log_type warning\n"
      "log_type notice\n"
      "connection_messages false\n",
      settings.max_packet_bytes, files.folder.string());
  if (!settings.user.empty()) {
    conf += fmt::format("user {}\n", settings.user);
  }
  return conf;
}

std::string mosquitto_acl(const FleetId& fleet, const Restrictions& restrictions) {
  const std::string root = fmt::format("flops/v1/{}", fleet);
  std::string acl = "# Written by flops-coordinator at every start; changes are taken back.\n";
  acl += fmt::format("user {}\ntopic readwrite {}/#\n", coordinator_name, root);
  acl += fmt::format("user {}\ntopic read {}/#\n", observer_name, root);
  // What is denied goes before what a pattern allows.
  for (const DeviceId& device : restrictions.quarantined) {
    acl += fmt::format("user {0}\ntopic deny {1}/blobs/#\ntopic deny {1}/devices/{0}/blob/#\n", device, root);
  }
  for (const DeviceId& device : restrictions.revoked) {
    acl += fmt::format("user {}\ntopic deny {}/#\n", device, root);
  }
  // Patterns hold for every user; the names above own no such topics.
  acl += fmt::format("pattern write {}/devices/%u/state\n", root);
  acl += fmt::format("pattern write {}/devices/%u/up/#\n", root);
  acl += fmt::format("pattern write {}/devices/%u/blob/#\n", root);
  acl += fmt::format("pattern read {}/devices/%u/cmd/#\n", root);
  acl += fmt::format("pattern read {}/blobs/#\n", root);
  acl += fmt::format("pattern read {}/status\n", root);
  return acl;
}

}  // namespace flops::broker
