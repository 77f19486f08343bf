#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "fixture.hpp"
#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"

using namespace flops;
using namespace flops::http;
using namespace flops::http::test;
using namespace std::chrono_literals;

namespace {

// A port that is bound, and listened to when `listening`, but where nobody ever answers.
struct SilentPort {
  explicit SilentPort(bool listening) : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = static_cast<sockaddr*>(static_cast<void*>(&address));
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd.get(), generic, size) == 0);
    REQUIRE(::getsockname(fd.get(), generic, &size) == 0);
    REQUIRE((!listening || ::listen(fd.get(), 8) == 0));
    url = {.host = "127.0.0.1", .port = std::to_string(ntohs(address.sin_port))};
  }
  Fd fd;
  Url url;
};

void check_error(const Result<ClientResponse>& result, ErrorKind kind, std::string_view text) {
  REQUIRE(!result.has_value());
  INFO(result.error().what);
  CHECK(result.error().kind == kind);
  CHECK(contains(result.error().what, text));
}

}  // namespace

TEST_CASE("client: GET and POST reach the handler whole and bring its answer back") {
  TestServer server;
  ClientOptions options = trusting();
  options.bearer = "s3cret.token-1";
  const ClientResponse got = must(request("GET", server.url("/echo?a=1&b=two"), "", options));
  CHECK(got.status == 200);
  CHECK(got.content_type == "text/plain");
  CHECK(got.body == "GET /echo\nbearer=s3cret.token-1\npeer=127.0.0.1\na=1\nb=two\nbody=");
  const std::string body = random_text(100'000);
  const ClientResponse posted = must(request("POST", server.url("/echo"), body, trusting()));
  CHECK(posted.status == 200);
  CHECK(posted.body == "POST /echo\nbearer=\npeer=127.0.0.1\nbody=" + body);
  CHECK(must(request("DELETE", server.url("/echo"), "", trusting())).body.starts_with("DELETE /echo\n"));
}

TEST_CASE("client: any status is an answer") {
  TestServer server;
  CHECK(must(request("GET", server.url("/unknown"), "", trusting())).status == 404);
}

TEST_CASE("client: a host name works like an address") {
  TestServer server;
  CHECK(must(request("GET", server.url("/echo", "localhost"), "", trusting())).status == 200);
}

TEST_CASE("client: a refused connection is transient") {
  const SilentPort port(false);
  check_error(request("GET", port.url, "", trusting()), ErrorKind::transient, "refused");
}

TEST_CASE("client: the time-out holds in every phase and is transient") {
  ClientOptions options = trusting();
  options.timeout = 200ms;
  SUBCASE("a server that accepts and says nothing") {
    const SilentPort port(true);
    check_error(request("GET", port.url, "", options), ErrorKind::transient, "not done within 200 ms");
  }
  SUBCASE("a handler that does not reply") {
    TestServer server;
    check_error(request("GET", server.url("/later"), "", options), ErrorKind::transient, "not done within 200 ms");
  }
}

TEST_CASE("client: an answer that is too large is refused as resource") {
  TestServer server;
  ClientOptions options = trusting();
  options.max_response = 10'000;
  CHECK(must(request("GET", server.url("/bytes?size=10000"), "", options)).body.size() == 10'000);
  check_error(request("GET", server.url("/bytes?size=10001"), "", options), ErrorKind::resource,
              "larger than 10000 bytes");
}

TEST_CASE("client: a connection that closes before the answer is transient") {
  TestServer server;
  check_error(request("GET", server.url("/drop"), "", trusting()), ErrorKind::transient, "closed the connection early");
}

TEST_CASE("client: what would become a second header or request is refused before connecting") {
  const Url url{.host = "127.0.0.1", .port = "1"};
  ClientOptions options = trusting();
  SUBCASE("in the bearer token") {
    options.bearer = "a\r\nX-Evil: 1";
    check_error(request("GET", url, "", options), ErrorKind::permanent, "characters that HTTP forbids");
  }
  SUBCASE("in the content type") {
    options.content_type = "text/plain\r\n";
    check_error(request("POST", url, "x", options), ErrorKind::permanent, "characters that HTTP forbids");
  }
  SUBCASE("in the path") {
    check_error(request("GET", {.host = "127.0.0.1", .port = "1", .path = "/ HTTP/1.1\r\n"}, "", options),
                ErrorKind::permanent, "characters that HTTP forbids");
  }
  SUBCASE("in the method") {
    check_error(request("GET / HTTP/1.1\r\n", url, "", options), ErrorKind::permanent, "upper-case letters");
  }
}

TEST_CASE("client: a body that is too large brings the server's 413, not a broken pipe") {
  TestServer server({.max_body = 1000});
  CHECK(must(request("POST", server.url("/echo"), std::string(1000, 'x'), trusting())).status == 200);
  const ClientResponse refused = must(request("POST", server.url("/echo"), std::string(4'000'000, 'x'), trusting()));
  CHECK(refused.status == 413);
  CHECK(contains(refused.body, "larger than 1000 bytes"));
  CHECK(server.handled() == 1);
}

TEST_CASE("client: fifty requests at once are all answered") {
  TestServer server;
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 50; ++i) {
    threads.emplace_back([&, i] {
      const std::string body = "number " + std::to_string(i);
      const auto answer = request("POST", server.url("/echo"), body, trusting());
      right += answer && answer->body.ends_with("body=" + body) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(right == 50);
  CHECK(server.handled() == 50);
}

TEST_CASE("download: a file of some megabytes arrives whole, and nothing else is left") {
  const Folder folder;
  const std::string content = random_text(5'000'003);
  REQUIRE(replace_file(folder / "sent", content).has_value());
  TestServer server;
  server.file = folder / "sent";
  const auto done = download(server.url("/file"), folder / "received", 6'000'000, trusting());
  INFO((done ? std::string() : done.error().what));
  REQUIRE(done.has_value());
  CHECK((must(read_file(folder / "received", 8'000'000)) == content));
  CHECK(folder.entries() == 2);
}

TEST_CASE("download: an empty file is a file") {
  const Folder folder;
  REQUIRE(replace_file(folder / "sent", "").has_value());
  TestServer server;
  server.file = folder / "sent";
  REQUIRE(download(server.url("/file"), folder / "received", 100, trusting()).has_value());
  CHECK(must(read_file(folder / "received")).empty());
}

TEST_CASE("download: failures leave the old file and nothing half done") {
  const Folder folder;
  REQUIRE(replace_file(folder / "sent", std::string(200'000, 'n')).has_value());
  REQUIRE(replace_file(folder / "received", "old").has_value());
  TestServer server;
  server.file = folder / "sent";
  struct Row {
    const char* name;
    const char* path;
    std::string target;
    ErrorKind kind;
    const char* text;
  };
  const Row rows[] = {{"larger than allowed", "/file", "received", ErrorKind::resource, "larger than 100000 bytes"},
                      {"another status", "/unknown", "received", ErrorKind::permanent, "status 404: GET /unknown"},
                      {"closed early", "/drop", "received", ErrorKind::transient, "closed the connection early"},
                      {"no such folder", "/file", "missing/received", ErrorKind::permanent, "missing/received.part"}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = download(server.url(row.path), folder / row.target, 100'000, trusting());
      REQUIRE(!result.has_value());
      INFO(result.error().what);
      CHECK(result.error().kind == row.kind);
      CHECK(contains(result.error().what, row.text));
      CHECK(must(read_file(folder / "received")) == "old");
      CHECK(folder.entries() == 2);
    }
  }
}

namespace {

BodySource from(const std::string& text, std::size_t& at) {
  return [&](std::span<std::byte> into) -> Result<> {
    REQUIRE(into.size() <= text.size() - at);
    std::memcpy(into.data(), text.data() + at, into.size());
    at += into.size();
    return {};
  };
}

BodySink into(std::string& text) {
  return [&](std::span<const std::byte> bytes) -> Result<> {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  };
}

}  // namespace

TEST_CASE("client: a body that is read while it is sent arrives whole") {
  ServerOptions server_options;
  server_options.max_body = 4U << 20U;
  TestServer server(server_options);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{64} << 10U, std::size_t{1'000'003}}) {
    const std::string body = random_text(size);
    std::size_t at = 0;
    const ClientResponse answer = must(upload("PUT", server.url("/echo"), size, from(body, at), trusting()));
    CHECK(answer.status == 200);
    CHECK(answer.body == "PUT /echo\nbearer=\npeer=127.0.0.1\nbody=" + body);
    CHECK(at == size);
  }
}

TEST_CASE("client: an upload that the server refuses brings the refusal back, one whose source fails its error") {
  TestServer server;
  const std::string body = random_text(8U << 20U);
  std::size_t at = 0;
  const auto refused = upload("PUT", server.url("/echo"), body.size(), from(body, at), trusting());
  REQUIRE_MESSAGE(refused, (refused ? "" : refused.error().what));
  CHECK(refused->status == 413);

  const auto failing = [](std::span<std::byte>) -> Result<> { return fail(ErrorKind::cancelled, "enough"); };
  check_error(upload("PUT", server.url("/echo"), 100, failing, trusting()), ErrorKind::cancelled, "enough");
}

TEST_CASE("client: an answer goes to the sink piece by piece, up to the limit, and only when it is a good one") {
  TestServer server;
  std::string got;
  const ClientResponse answer = must(fetch(server.url("/bytes?size=1000003"), 1'000'003, into(got), trusting()));
  CHECK(answer.status == 200);
  CHECK(answer.body.empty());
  CHECK(got == std::string(1'000'003, 'b'));

  got.clear();
  check_error(fetch(server.url("/bytes?size=1000003"), 1'000'002, into(got), trusting()), ErrorKind::resource,
              "larger than 1000002 bytes");
  CHECK(got.empty());
  const ClientResponse missing = must(fetch(server.url("/unknown"), 1000, into(got), trusting()));
  CHECK(missing.status == 404);
  CHECK(contains(missing.body, "GET /unknown"));
  CHECK(got.empty());
  const auto full = [](std::span<const std::byte>) -> Result<> { return fail(ErrorKind::resource, "full"); };
  check_error(fetch(server.url("/bytes?size=100"), 1000, full, trusting()), ErrorKind::resource, "full");
}
