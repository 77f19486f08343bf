#include <doctest/doctest.h>

#include <string>

#include "fixture.hpp"
#include "raw_client.hpp"

using namespace flops;
using namespace flops::http;
using namespace flops::http::test;
using namespace std::chrono_literals;

namespace {

void check_denied(const Result<ClientResponse>& result, std::string_view text, ErrorKind kind = ErrorKind::denied) {
  REQUIRE(!result.has_value());
  INFO(result.error().what);
  CHECK(result.error().kind == kind);
  CHECK(contains(result.error().what, text));
}

}  // namespace

TEST_CASE("trust: a server under another CA is refused, even when the CA has the same name") {
  const auto other = must(crypto::CertificateAuthority::create("FLOps Edge CA test"));
  TestServer server;
  check_denied(request("GET", server.url("/echo"), "", trusting(other)), "is not trusted");
  CHECK(server.handled() == 0);
}

TEST_CASE("trust: a certificate for other names is refused") {
  SUBCASE("an address that it does not name") {
    TestServer server(
        {}, server_identity(test_ca(),
                            {.common_name = "coordinator", .usage = crypto::Usage::server, .names = {"localhost"}}));
    check_denied(request("GET", server.url("/echo"), "", trusting()), "issued for other names");
    CHECK(must(request("GET", server.url("/echo", "localhost"), "", trusting())).status == 200);
  }
  SUBCASE("a host name that it does not name") {
    TestServer server(
        {}, server_identity(test_ca(),
                            {.common_name = "coordinator", .usage = crypto::Usage::server, .names = {"127.0.0.1"}}));
    check_denied(request("GET", server.url("/echo", "localhost"), "", trusting()), "issued for other names");
  }
}

TEST_CASE("trust: an authority under another one is trusted alone") {
  const auto under = [](const std::string& name) {
    const crypto::PrivateKey key = must(crypto::PrivateKey::generate());
    const std::string csr = must(crypto::make_csr(key, name));
    return must(crypto::CertificateAuthority::load(must(test_ca().issue_authority(csr, name)), must(key.to_pem())));
  };
  const auto site = under("site");
  const auto other = under("other");
  const ClientOptions trusting_site = {.ca_pem = must(crypto::trust_anchor(site.certificate_pem()))};
  TestServer server({}, server_identity(site));
  CHECK(must(request("GET", server.url("/echo"), "", trusting_site)).status == 200);
  TestServer elsewhere({}, server_identity(other));
  check_denied(request("GET", elsewhere.url("/echo"), "", trusting_site), "is not trusted");
  // Nor is it the fleet's own, whatever chain it shows.
  Identity with_chain = server_identity(site);
  with_chain.certificate += site.certificate_pem();
  TestServer pretender({}, with_chain);
  check_denied(request("GET", pretender.url("/echo"), "", trusting()), "is not trusted");
  CHECK(must(request("GET", pretender.url("/echo"), "", trusting_site)).status == 200);
}

TEST_CASE("trust: a device's certificate is not a server's") {
  const crypto::PrivateKey key = must(crypto::PrivateKey::generate());
  const std::string csr = must(crypto::make_csr(key, "d"));
  TestServer server({}, {must(test_ca().issue(csr, {.common_name = "d", .names = {"127.0.0.1"}})), must(key.to_pem())});
  check_denied(request("GET", server.url("/echo"), "", trusting()), "is not trusted");
}

TEST_CASE("trust: a certificate outside its validity is refused, and the clock is named when it is wrong") {
  crypto::IssueRequest order;
  SUBCASE("expired") {
    order.backdate = 2h;
    order.lifetime = -1h;
    TestServer server({}, server_identity(test_ca(), order));
    check_denied(request("GET", server.url("/echo"), "", trusting()), "expired on");
  }
  SUBCASE("not yet valid") {
    order.backdate = -1h;
    order.lifetime = 2h;
    TestServer server({}, server_identity(test_ca(), order));
    check_denied(request("GET", server.url("/echo"), "", trusting()), "is the time set", ErrorKind::clock);
  }
}

TEST_CASE("trust: without verification anybody is trusted, for fetching the CA") {
  TestServer server;
  CHECK(must(request("GET", server.url("/echo"), "", {.verify = false})).status == 200);
}

TEST_CASE("trust: bad roots are refused before connecting") {
  const std::string root = test_ca().certificate_pem();
  struct Row {
    const char* name;
    std::string pem;
    const char* text;
  };
  const Row rows[] = {{"none", "", "reading a certificate"},
                      {"plain text", "hello", "reading a certificate"},
                      {"several", root + root, "one certificate is expected"},
                      {"a certificate that is no CA", test_identity().certificate, "is not the certificate of a CA"}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = request("GET", {.host = "127.0.0.1", .port = "1"}, "", {.ca_pem = row.pem});
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::permanent);
      CHECK(contains(result.error().what, row.text));
    }
  }
}

TEST_CASE("trust: TLS 1.2 clients are refused, TLS 1.3 clients are not") {
  TestServer server;
  const RawClient old(server.port(), TLS1_2_VERSION);
  CHECK(!old.connected());
  CHECK(contains(old.reason(), "protocol version"));
  CHECK(RawClient(server.port()).connected());
}

TEST_CASE("trust: a plain HTTP client gets no answer and loses the connection") {
  TestServer server;
  const Fd socket = connect_tcp(server.port());
  const std::string_view text = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";
  REQUIRE(::write(socket.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  const Heard heard = listen_to(socket);
  CHECK(heard.closed);
  CHECK(!contains(heard.text, "HTTP/1.1"));
  CHECK(server.handled() == 0);
}

TEST_CASE("trust: a new certificate serves new connections") {
  const auto second = must(crypto::CertificateAuthority::create("second"));
  const Identity identity = server_identity(second);
  TestServer server;
  CHECK(must(request("GET", server.url("/echo"), "", trusting())).status == 200);
  server.on_loop([&](Server& running) {
    CHECK(!running.set_certificate(identity.certificate, test_identity().key).has_value());
    CHECK(!running.set_certificate("", identity.key).has_value());
    CHECK(running.set_certificate(identity.certificate, identity.key).has_value());
  });
  CHECK(must(request("GET", server.url("/echo"), "", trusting(second))).status == 200);
  check_denied(request("GET", server.url("/echo"), "", trusting()), "is not trusted");
}
