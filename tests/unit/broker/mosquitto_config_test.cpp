#include <doctest/doctest.h>

#include "flops/broker/mosquitto_config.hpp"

using namespace flops;
using namespace flops::broker;

TEST_CASE("broker: the configuration lets nobody in without a certificate, and drops nothing silently") {
  const std::string conf = mosquitto_conf({"/s/broker"}, {"127.0.0.1", 8883, "flops", 1U << 20U});
  for (const char* line :
       {"listener 8883 127.0.0.1\n", "require_certificate true\n", "use_identity_as_username true\n",
        "use_username_as_clientid true\n", "allow_anonymous false\n", "tls_version tlsv1.3\n",
        "acl_file /s/broker/acl\n", "crlfile /s/broker/crl.pem\n", "max_queued_messages 1000000000\n",
        "max_queued_bytes 0\n", "max_packet_size 1048576\n", "user flops\n"}) {
    CHECK_MESSAGE(conf.find(line) != std::string::npos, line);
  }
}

TEST_CASE("broker: the ACL gives a device its own topics and nothing else") {
  const std::string acl = mosquitto_acl(FleetId::parse("f").value());
  std::size_t writes = 0;
  for (std::size_t at = acl.find("pattern write"); at != std::string::npos; at = acl.find("pattern write", at + 1)) {
    const std::string line = acl.substr(at, acl.find('\n', at) - at);
    CHECK_MESSAGE(line.find("devices/%u/") != std::string::npos, line);
    ++writes;
  }
  CHECK(writes == 3);
  CHECK(acl.find("pattern readwrite") == std::string::npos);
  CHECK(acl.find("pattern read flops/v1/f/devices/%u/cmd/#") != std::string::npos);
}
