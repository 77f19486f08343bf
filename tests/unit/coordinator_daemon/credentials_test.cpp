#include "credentials.hpp"

#include <doctest/doctest.h>

#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::coordinator;

TEST_CASE("credentials: the coordinator's certificates are made anew when they have less than a third of their life") {
  const test::TemporaryFolder folder;
  Config config;
  config.state_folder = folder.path();
  Credentials credentials = load_or_make_credentials(config).value();
  const std::string first = credentials.server_certificate;
  const std::string client = read_file(folder / "coordinator/certificate.pem").value();
  const std::int64_t now = unix_ms(SystemClock().wall()) / 1000;
  constexpr std::int64_t day = 86'400;
  CHECK_FALSE(renew_credentials(config, credentials, now + 260 * day).value());
  CHECK(credentials.server_certificate == first);
  CHECK(renew_credentials(config, credentials, now + 270 * day).value());
  CHECK(credentials.server_certificate != first);
  CHECK(credentials.server_certificate == read_file(folder / "server.pem").value());
  CHECK(credentials.server_key == read_file(folder / "server.key").value());
  CHECK(read_file(folder / "coordinator/certificate.pem").value() != client);
}
