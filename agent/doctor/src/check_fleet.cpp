#include <memory>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include "checks.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/http/client.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::agent {
namespace {

constexpr std::int64_t a_day = 86'400;
constexpr std::size_t max_ca = std::size_t{64} * 1024;

// The first address of a name; or why there is none.
Result<std::string> address_of(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list); code != 0) {
    return fail(ErrorKind::transient, "'{}' is not known: {}", host, ::gai_strerror(code));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
  char text[NI_MAXHOST] = {};
  (void)::getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  return std::string(text);
}

std::string advice_for(const Error& error, std::string_view port) {
  switch (error.kind) {
    case ErrorKind::clock: return "set the time of this device";
    case ErrorKind::denied:
      return "ask the operator whether this device was revoked (flopsctl device show); enrol it again with a new token";
    case ErrorKind::permanent: return "enrol this device again";
    default: return fmt::format("look at the network and the firewall: {} must be open from here to there", port);
  }
}

}  // namespace

Finding check_identity(const Config& config, std::optional<Identity>& identity) {
  if (!is_enrolled(config.state_folder)) {
    return problem("enrolment", "this device is in no fleet yet",
                   "get a token (flopsctl token create), then: flops-agent enroll --coordinator URL --token TOKEN");
  }
  auto loaded = load_identity(config.state_folder);
  if (!loaded) {
    return problem("enrolment", loaded.error().what, "enrol this device again");
  }
  if (loaded->device != config.device) {
    return problem("enrolment",
                   fmt::format("enrolled as '{}', but the configuration says '{}'", loaded->device, config.device),
                   "enrol again under the new name, or change the configuration back");
  }
  identity = *std::move(loaded);
  return good("enrolment", fmt::format("{} in fleet {}", identity->device, identity->fleet));
}

Finding check_certificate(const Identity& identity) {
  auto life = certificate_life(identity);
  if (!life) {
    return problem("certificate", life.error().what, "enrol this device again");
  }
  const std::int64_t now = unix_ms(SystemClock().wall()) / 1000;
  const std::string end = iso8601(life->not_after * 1000);
  if (now > life->not_after) {
    return problem("certificate", fmt::format("expired {}", end),
                   "the running agent renews it as soon as it reaches the coordinator's API");
  }
  const std::string text = fmt::format("valid until {} ({} days)", end, (life->not_after - now) / a_day);
  const bool overdue = now > life->not_after - (life->not_after - life->not_before) / 6;
  return overdue ? note("certificate", text, "it should have been renewed by now: is the agent running and connected?")
                 : good("certificate", text);
}

Findings check_names(const Identity& identity) {
  Findings findings;
  const auto url = http::Url::parse(identity.coordinator);
  for (const auto& [subject, host] :
       {std::pair<std::string, std::string>("name of the broker", identity.broker_host),
        std::pair<std::string, std::string>("name of the API", url ? url->host : identity.coordinator)}) {
    const auto address = address_of(host);
    findings.push_back(address ? good(subject, *address == host ? host : fmt::format("{} is {}", host, *address))
                               : problem(subject, address.error().what,
                                         "look at /etc/resolv.conf and the name server; an address instead of the name "
                                         "works too, when the coordinator's certificate has it"));
  }
  return findings;
}

Finding check_broker(const Identity& identity, std::int64_t newest_time_seen) {
  mqtt::Options options;
  options.host = identity.broker_host;
  options.port = identity.broker_port;
  options.client_id = identity.device.str();
  options.ca_file = identity.ca_file;
  options.certificate_file = identity.certificate_file;
  options.key_file = identity.key_file;
  options.newest_time_seen = newest_time_seen;
  const std::string where = fmt::format("{}:{}", identity.broker_host, identity.broker_port);
  if (const auto looked = mqtt::examine(options); !looked) {
    return problem("broker", looked.error().what,
                   advice_for(looked.error(), fmt::format("TCP port {}", identity.broker_port)));
  }
  return good("broker", fmt::format("{} accepts this device's certificate (TLS 1.3)", where));
}

Finding check_api(const Identity& identity) {
  auto url = http::Url::parse(identity.coordinator);
  auto ca = read_file(identity.ca_file, max_ca);
  if (!url || !ca) {
    return problem("API", url ? ca.error().what : url.error().what, "enrol this device again");
  }
  url->path = "/readyz";
  http::ClientOptions options;
  options.ca_pem = *std::move(ca);
  options.timeout = std::chrono::seconds(15);
  const auto answer = http::request("GET", *url, "", options);
  if (!answer) {
    // Only a device whose certificate has expired needs it.
    return note("API", answer.error().what, advice_for(answer.error(), fmt::format("TCP port {}", url->port)));
  }
  return answer->status == 200 ? good("API", fmt::format("{} is ready", identity.coordinator))
                               : note("API", fmt::format("{} is not ready", identity.coordinator),
                                      "the coordinator has a problem: flopsctl status");
}

}  // namespace flops::agent
