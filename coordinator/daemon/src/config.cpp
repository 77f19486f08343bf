#include "flops/coordinator/config.hpp"

#include "flops/core/config.hpp"
#include "flops/http/client.hpp"

namespace flops::coordinator {
namespace {

using namespace std::chrono_literals;

std::string check_id(const std::string& text) {
  return is_valid_id(text) ? "" : "expected a-z, 0-9, '.', '_', '-', beginning with a letter or digit, at most 64";
}

void bind(ConfigSpec& spec, Config& config) {
  spec.text("fleet", config.fleet, "Name of the fleet; part of every topic", Presence::optional, check_id);
  spec.choice("role", config.role, {"global", "cluster"}, "cluster: the coordinator of a site, see [parent]");
  spec.choice("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"}, "What is logged");
  spec.path("state.folder", config.state_folder, "Where database, keys, models and updates are kept");
  spec.text("api.address", config.api.address, "IP address the HTTPS API listens on; 0.0.0.0 for all");
  spec.integer("api.port", config.api.port, 0, 65535, "Its port; 0: any free one, kept from then on");
  spec.text("api.public_host", config.api.public_host,
            "Host name or address under which others reach this machine; empty: api.address");
  spec.choice("broker.mode", config.broker.mode, {"managed", "external"},
              "managed: the coordinator runs Mosquitto itself");
  spec.text("broker.address", config.broker.address,
            "managed: IP address the broker listens on; external: the broker's host");
  spec.integer("broker.port", config.broker.port, 0, 65535,
               "Its port; 0 (managed only): any free one, kept from then on");
  spec.text("broker.public_host", config.broker.public_host,
            "Host name or address under which devices reach the broker; empty: broker.address");
  spec.program("broker.program", config.broker.program, "managed: the Mosquitto program");
  spec.path("broker.ca", config.broker.ca, "external: root certificate (PEM) of the broker");
  spec.path("broker.certificate", config.broker.certificate, "external: the coordinator's client certificate (PEM)");
  spec.path("broker.key", config.broker.key, "external: its key (PEM)");
  spec.text("parent.url", config.parent.url,
            "Of a site: the coordinator above, https://host:port; an uplink to it is run. Empty: none");
  spec.text("parent.device", config.parent.device, "This site's id in the fleet above", Presence::optional,
            [](const std::string& text) { return text.empty() ? "" : check_id(text); });
  spec.path("parent.token_file", config.parent.token_file,
            "A file with an enrolment token of the coordinator above; needed until the site is enrolled there");
  spec.program("parent.program", config.parent.program, "flops-agent: beside flops-coordinator, or found in PATH");
  spec.integer("parent.offline_continue", config.parent.offline_continue, 0, 1000,
               "How often the site goes through the rounds of its task again while it has no link to the coordinator "
               "above; it then hands up one result");
  spec.duration("enrolment.certificate_lifetime", config.enrolment.certificate_lifetime, 1min, 24h * 3650,
                "How long a device's certificate is valid; devices renew it after two thirds of that");
  spec.duration("enrolment.max_absence", config.enrolment.max_absence, 0s, 24h * 3650,
                "A device whose certificate expired no longer ago than this may still renew it with its key");
  spec.boolean("enrolment.quarantine_clones", config.enrolment.quarantine_clones,
               "Quarantine a device when two machines use its certificate");
  spec.integer("reconnect.rate", config.reconnect.rate, 1, 100'000,
               "How many devices may come back a second after the fleet lost its broker; with more of them each waits");
  spec.duration("reconnect.max_window", config.reconnect.max_window, 1s, 1h,
                "The longest time over which they spread, however many there are");
  spec.integer("limits.fleet_chunks", config.limits.fleet_chunks, 1, 65536,
               "Chunks of 256 KiB the whole fleet may have on their way");
  spec.integer("limits.device_chunks", config.limits.device_chunks, 1, 4096, "Chunks one device may have on their way");
  spec.integer("limits.max_weight", config.limits.max_weight, 1, (1LL << 31U) - 1,
               "Training samples one update may claim");
  spec.integer("limits.max_parameters", config.limits.max_parameters, 1, 1LL << 30U, "Size of the largest model");
  spec.duration("limits.upload_stall", config.limits.upload_stall, 1s, 1h,
                "After this long without a chunk, an upload's grants go to others");
}

}  // namespace

Result<Config> load_config(const std::filesystem::path& file) {
  Config config;
  ConfigSpec spec("flops-coordinator");
  bind(spec, config);
  if (auto loaded = spec.load(file); !loaded) {
    return fail(loaded.error());
  }
  if (config.broker.mode == "external" && (config.broker.ca.empty() || config.broker.certificate.empty() ||
                                           config.broker.key.empty() || config.broker.port == 0)) {
    return fail(ErrorKind::permanent, "{}: an external broker needs broker.port, .ca, .certificate and .key",
                file.string());
  }
  const std::string& address = config.broker.address;
  if ((address == "0.0.0.0" || address == "::") && config.broker.public_host.empty()) {
    return fail(ErrorKind::permanent,
                "{}: with broker.address = \"{}\" goes broker.public_host, the name by which devices reach the broker",
                file.string(), address);
  }
  const bool uplink = !config.parent.url.empty();
  if (uplink && (config.role != "cluster" || config.parent.device.empty())) {
    return fail(ErrorKind::permanent, "{}: with parent.url go role = \"cluster\" and parent.device", file.string());
  }
  if (auto url = uplink ? http::Url::parse(config.parent.url) : Result<http::Url>(); !url) {
    return fail(url.error(), fmt::format("{}: parent.url", file.string()));
  }
  return config;
}

std::string config_reference(const Config& values) {
  Config config = values;
  ConfigSpec spec("flops-coordinator");
  bind(spec, config);
  return spec.reference();
}

}  // namespace flops::coordinator
