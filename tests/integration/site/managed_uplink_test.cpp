// Two real coordinators, one above the other, and the uplink that the lower one runs.
#include <csignal>
#include <filesystem>
#include <optional>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/test/wait.hpp"
#include "harness.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Pair {
  Pair() : parent(loop) {}

  void start_site(bool launched = false) {
    site.emplace(loop, std::vector<std::pair<std::string, std::string>>{},
                 fmt::format("role = \"cluster\"\nparent.url = \"{}\"\nparent.device = \"hall-3\"\nparent.token_file = "
                             "\"{}\"\n",
                             parent.url(), (folder / "token").string()),
                 launched);
  }
  void give_token() { REQUIRE(replace_file(folder / "token", parent.site_token() + "\n")); }
  // As the parent sees it.
  [[nodiscard]] bool is_online(bool wanted) {
    const auto response = parent.api("GET", "/v1/devices/hall-3");
    return response.status == 200 ? boost::json::parse(response.body).at("online") == wanted : !wanted;
  }
  void wait_for(bool online) {
    const bool seen = run_until(loop, [&] { return is_online(online); });
    REQUIRE_MESSAGE(seen, (site ? site->log() + read_file(site->state() / "uplink/agent.log").value_or("") : ""));
  }
  // The agent with this site's configuration; 0: none.
  [[nodiscard]] pid_t uplink() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::error_code error;
      const auto program = std::filesystem::read_symlink(entry.path() / "exe", error);
      const auto line = read_file(entry.path() / "cmdline").value_or("");
      if (!error && program.filename() == "flops-agent" && line.find(site->state().string()) != std::string::npos) {
        return std::stoi(entry.path().filename());
      }
    }
    return 0;
  }

  boost::asio::io_context loop;
  TemporaryFolder folder;
  CoordinatorProcess parent;
  std::optional<CoordinatorProcess> site;
};

}  // namespace

TEST_CASE("site: its coordinator enrols an uplink above, keeps it running, and ends it with itself") {
  Pair pair;
  pair.give_token();
  pair.start_site();
  pair.wait_for(true);
  CHECK(pair.site->json("GET", "/v1/status").at("role") == "cluster");
  std::filesystem::remove(pair.folder / "token");  // it was needed once

  const pid_t first = pair.uplink();
  REQUIRE(first > 0);
  REQUIRE(::kill(first, SIGKILL) == 0);
  REQUIRE(run_until(pair.loop, [&] {
    const pid_t now = pair.uplink();
    return now > 0 && now != first;
  }));
  pair.wait_for(true);

  CHECK(pair.site->stop() == 0);
  pair.wait_for(false);
  CHECK(pair.uplink() == 0);
  pair.site->start();
  pair.wait_for(true);
  pair.site->kill();
  REQUIRE(run_until(pair.loop, [&] { return pair.uplink() == 0; }));
}

TEST_CASE("site: a new one has its authority from the fleet's, and serves no device before") {
  Pair pair;
  pair.start_site(true);
  CoordinatorProcess& site = *pair.site;
  SUBCASE("no token") {
    REQUIRE(run_until(pair.loop, [&] { return site.log().find("parent.token_file") != std::string::npos; }));
  }
  SUBCASE("a token for devices") {
    REQUIRE(replace_file(pair.folder / "token", pair.parent.token() + "\n"));
    REQUIRE(run_until(pair.loop, [&] {
      return read_file(site.state() / "uplink/agent.log").value_or("").find("token_role") != std::string::npos;
    }));
  }
  SUBCASE("it is stopped and started again meanwhile") {
    REQUIRE(run_until(pair.loop, [&] { return site.log().find("parent.token_file") != std::string::npos; }));
    CHECK(site.stop() == 0);
    site.launch();
  }
  CHECK_FALSE(std::filesystem::exists(site.state() / "ca.pem"));
  CHECK_FALSE(std::filesystem::exists(site.state() / "endpoints.json"));
  pair.give_token();
  site.await_ready();
  pair.wait_for(true);

  const auto authority = crypto::CertificateAuthority::load(read_file(site.state() / "ca.pem").value(),
                                                            read_file(site.state() / "ca.key").value());
  REQUIRE(authority.has_value());
  CHECK(crypto::read_certificate(authority->certificate_pem()).value().common_name.starts_with("hall-3 "));
  CHECK(authority->trust_pem() != authority->certificate_pem());  // it is no root
  // A device of the site's enrols and reaches its broker with nothing but what the site gives it.
  Device device(site, "a");
  device.join(site.token());
  REQUIRE(run_until(pair.loop, [&] { return site.json("GET", "/v1/devices/a").at("online").as_bool(); }));
  CHECK(pair.parent.json("GET", "/v1/devices/hall-3").at("role") == "cluster");
}

TEST_CASE("site: one that has lost its identity above says what is missing, serves its devices, and tries again") {
  Pair pair;
  pair.give_token();
  pair.start_site();
  pair.wait_for(true);
  REQUIRE(pair.site->stop() == 0);
  std::filesystem::remove(pair.folder / "token");
  std::filesystem::remove(pair.site->state() / "uplink/state/identity/enrolment.json");
  pair.site->start();
  REQUIRE(run_until(pair.loop, [&] {
    const auto health = pair.site->json("GET", "/v1/status").at("health").as_array();
    return !health.empty() && health[0].at("name") == "uplink" &&
           health[0].at("text").as_string().find("token") != std::string::npos;
  }));
  pair.give_token();
  pair.wait_for(true);
  REQUIRE(run_until(pair.loop, [&] { return pair.site->json("GET", "/v1/status").at("health").as_array().empty(); }));
}
