#include <doctest/doctest.h>

#include "flops/agent_config/config.hpp"
#include "flops/uplink/managed_uplink.hpp"

using namespace flops;

TEST_CASE("uplink: what the coordinator writes is what the agent reads") {
  uplink::ManagedUplinkOptions options;
  options.log_level = "debug";
  options.device = "hall-3";
  options.site_url = "https://127.0.0.1:8443";
  options.site_ca = "/var/lib/a \"quoted\" \\ folder/ca.pem";
  options.site_token = "/var/lib/site/admin.token";
  options.offline_continue = 3;
  const std::string text = uplink::agent_configuration(options);
  const auto config = agent::parse_config(text, "/var/lib/site/uplink/agent.toml", "");
  REQUIRE_MESSAGE(config, (config ? "" : config.error().what));
  CHECK(config->is_uplink());
  CHECK(config->device.str() == "hall-3");
  CHECK(config->log_level == "debug");
  CHECK(config->state_folder == "/var/lib/site/uplink/state");
  CHECK(config->offline_continue == 3);
  CHECK(config->site.url == options.site_url);
  CHECK(config->site.ca_file == options.site_ca);
  CHECK(config->site.token_file == options.site_token);
  CHECK(config->site.program.filename() == "flops-site");
}

TEST_CASE("uplink: while it joins, the agent knows of no site yet") {
  uplink::ManagedUplinkOptions options;
  options.device = "hall-3";
  options.joining.emplace();
  const auto config = agent::parse_config(uplink::agent_configuration(options), "/var/lib/site/uplink/agent.toml", "");
  REQUIRE_MESSAGE(config, (config ? "" : config.error().what));
  CHECK_FALSE(config->is_uplink());
  CHECK(config->device.str() == "hall-3");
}
