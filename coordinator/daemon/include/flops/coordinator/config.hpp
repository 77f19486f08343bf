// The coordinator's configuration; every key with its default and range is in `flops-coordinator --print-config`.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "flops/core/error.hpp"
#include "flops/core/id.hpp"

namespace flops::coordinator {

struct Config {
  std::string fleet = "default";
  std::string role = "global";  // cluster: of a site, with a coordinator above it
  std::string log_level = "info";
  std::filesystem::path state_folder = "/var/lib/flops-coordinator";

  struct Api {
    std::string address = "127.0.0.1";
    std::int64_t port = 8443;
    std::string public_host;  // empty: the address
  } api;

  struct Broker {
    std::string mode = "managed";
    std::string address = "127.0.0.1";  // managed: where it listens. external: the broker's host
    std::int64_t port = 8883;
    std::string public_host;  // what devices connect to; empty: the address
    std::filesystem::path program = "mosquitto";
    std::filesystem::path ca, certificate, key;  // external only
  } broker;

  struct Parent {                      // of a site
    std::string url;                   // of the coordinator above; empty: no uplink is started
    std::string device;                // this site's id there
    std::filesystem::path token_file;  // an enrolment token of it
    std::filesystem::path program = "flops-agent";
    std::int64_t offline_continue = 0;  // times that the site does its task's rounds again without a link
  } parent;

  struct Enrolment {
    std::chrono::milliseconds certificate_lifetime = std::chrono::hours(24 * 30);
    std::chrono::milliseconds max_absence = std::chrono::hours(24 * 365);
    bool quarantine_clones = true;
  } enrolment;

  struct Reconnect {
    std::int64_t rate = 50;  // devices a second
    std::chrono::milliseconds max_window = std::chrono::minutes(10);
  } reconnect;

  struct Limits {
    std::int64_t fleet_chunks = 16;        // granted and not yet arrived, whole fleet
    std::int64_t device_chunks = 8;        // of one device
    std::int64_t max_weight = 10'000'000;  // samples one update may claim
    std::int64_t max_parameters = 200'000'000;
    std::chrono::milliseconds upload_stall = std::chrono::seconds(30);
  } limits;
};

// permanent: everything that is wrong, with file and line.
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);
// Every setting with its meaning, as TOML with these values.
[[nodiscard]] std::string config_reference(const Config& values);

}  // namespace flops::coordinator
