#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "raw_client.hpp"

using namespace flops;
using namespace flops::http;
using namespace flops::http::test;
using namespace std::chrono_literals;

namespace {

// Sends `bytes` and returns all that comes until the server closes.
std::string answer_to(TestServer& server, std::string_view bytes) {
  RawClient client(server.port());
  REQUIRE(client.connected());
  REQUIRE(client.send(bytes));
  const Heard heard = client.read_all();
  CHECK(heard.closed);
  return heard.text;
}

std::string get(std::string_view target, std::string_view headers = "Connection: close\r\n") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n" + std::string(headers) + "\r\n";
}

}  // namespace

TEST_CASE("server: path and query are decoded") {
  TestServer server;
  const std::string text = answer_to(server, get("/ech%6F?na%6de=a+b%2Bc%26d&empty=&bare&&utf=%C3%BC"));
  CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(contains(text, "X-Flops: yes\r\n"));
  CHECK(contains(text, "GET /echo\n"));
  CHECK(contains(text, "\nname=a b+c&d\n"));
  CHECK(contains(text, "\nempty=\n"));
  CHECK(contains(text, "\nbare=\n"));
  CHECK(contains(text, "\nutf=\xc3\xbc\n"));
}

TEST_CASE("server: the bearer token is found, other schemes are not") {
  TestServer server;
  const auto bearer = [&](const std::string& value) {
    const std::string text = answer_to(server, get("/echo", "Connection: close\r\nAuthorization: " + value + "\r\n"));
    const std::size_t at = text.find("bearer=") + 7;
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(bearer("Bearer abc.def") == "abc.def");
  CHECK(bearer("bearer   abc") == "abc");
  CHECK(bearer("Basic abc") == "");
  CHECK(bearer("Bearer") == "");
  CHECK(bearer("Bearerabc") == "");
}

TEST_CASE("server: malformed requests get a 400, are closed and never reach the handler") {
  TestServer server;
  struct Row {
    const char* name;
    std::string bytes;
  };
  const Row rows[] = {
      {"not HTTP", "hello\r\n\r\n"},
      {"another version", "GET / HTTP/3.0\r\n\r\n"},
      {"a header without a colon", "GET / HTTP/1.1\r\nbroken\r\n\r\n"},
      {"two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
      {"a length that is no number", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"},
      {"length and chunks", "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a bad chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"},
      {"a cut escape", get("/a%")},
      {"half an escape", get("/a%4")},
      {"an escape that is not hexadecimal", get("/a%zz")},
      {"a bad escape in the query", get("/a?b=%2")},
      {"dots", get("/a/../b")},
      {"dots at the end", get("/a/..")},
      {"escaped dots", get("/%2e%2E/b")},
      {"dots behind an escaped slash", get("/a%2F../b")},
      {"a NUL in the path", get("/a%00b")},
      {"a NUL in the query", get("/a?b=%00")},
      {"a line break in the path", get("/a%0d%0ab")},
      {"a key given twice", get("/a?b=1&b=2")},
      {"an absolute target", get("https://x/echo")},
      {"an asterisk", "OPTIONS * HTTP/1.1\r\n\r\n"},
      {"a fragment", get("/a#b")},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const std::string text = answer_to(server, row.bytes);
      INFO(text);
      CHECK(text.starts_with("HTTP/1.1 400 Bad Request\r\n"));
      CHECK(contains(text, "Connection: close\r\n"));
      CHECK(contains(text, "{\"error\":\""));
      CHECK(server.handled() == 0);
    }
  }
}

TEST_CASE("server: limits are answered by their status") {
  TestServer server({.max_body = 1000});
  struct Row {
    const char* name;
    std::string bytes;
    const char* status;
  };
  const std::string post = "POST /echo HTTP/1.1\r\nConnection: close\r\n";
  const Row rows[] = {
      {"a body at the limit", post + "Content-Length: 1000\r\n\r\n" + std::string(1000, 'x'), "HTTP/1.1 200 OK\r\n"},
      {"an announced body above it", post + "Content-Length: 1001\r\n\r\n", "HTTP/1.1 413 "},
      {"an absurd length", post + "Content-Length: 18446744073709551615\r\n\r\n", "HTTP/1.1 413 "},
      {"chunks above it", post + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x'), "HTTP/1.1 413 "},
      {"one long header", get("/echo", "X-Long: " + std::string(9000, 'x') + "\r\n"), "HTTP/1.1 431 "},
      {"a long target", get("/" + std::string(9000, 'x')), "HTTP/1.1 431 "},
      {"a header without end", "GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'), "HTTP/1.1 431 "},
      {"HEAD", "HEAD /echo HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const std::string text = answer_to(server, row.bytes);
      INFO(text.substr(0, 200));
      CHECK(text.starts_with(row.status));
    }
  }
}

TEST_CASE("server: a connection serves several requests, also when they come in one piece") {
  TestServer server;
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(client.send(get("/echo?i=" + std::to_string(i), "")));
    CHECK(contains(client.read_until("body=").text, "i=" + std::to_string(i)));
  }
  REQUIRE(client.send(get("/echo?n=3", "") + get("/echo?n=4", "") + get("/echo?n=5")));
  const Heard heard = client.read_all();
  CHECK(heard.closed);
  CHECK(heard.text.find("n=3") < heard.text.find("n=4"));
  CHECK(contains(heard.text, "n=5"));
  CHECK(server.handled() == 6);
}

TEST_CASE("server: a client that waits for permission to send its body gets it") {
  TestServer server;
  RawClient client(server.port());
  REQUIRE(client.send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"));
  CHECK(client.read_until("\r\n\r\n").text == "HTTP/1.1 100 Continue\r\n\r\n");
  REQUIRE(client.send("abcd"));
  CHECK(client.read_all().text.ends_with("body=abcd"));
}

TEST_CASE("server: slow clients are closed without an answer") {
  TestServer server({.request_timeout = 150ms, .idle_timeout = 150ms});
  SUBCASE("no handshake") {
    const Heard heard = listen_to(connect_tcp(server.port()));
    CHECK(heard.closed);
  }
  SUBCASE("no request") {
    CHECK(answer_to(server, "G").empty());
  }
  SUBCASE("half a header") {
    CHECK(answer_to(server, "GET /echo HTTP/1.1\r\nHost").empty());
  }
  SUBCASE("half a body") {
    CHECK(answer_to(server, "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").empty());
  }
  SUBCASE("idle after an answer") {
    const std::string text = answer_to(server, get("/echo", ""));
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
  }
  CHECK(server.handled() <= 1);
}

TEST_CASE("server: a late reply is sent although the request time-out has passed") {
  TestServer server({.request_timeout = 100ms});
  std::thread waiting([&] {
    RawClient client(server.port());
    const bool sent = client.send(get("/later"));
    const Heard heard = client.read_all();
    CHECK(sent);
    CHECK(heard.text.ends_with("at last"));
  });
  const bool kept = server.wait_until_kept(1);
  std::this_thread::sleep_for(300ms);  // longer than the time-out: this is what the test is about
  server.release("at last");
  waiting.join();
  CHECK(kept);
}

TEST_CASE("server: only the first of two replies counts") {
  TestServer server;
  const std::string text = answer_to(server, get("/twice"));
  CHECK(text.ends_with("first"));
  CHECK(!contains(text, "second"));
}

TEST_CASE("server: a dropped reply closes the connection") {
  TestServer server;
  CHECK(answer_to(server, get("/drop", "")).empty());
  CHECK(server.handled() == 1);
}

TEST_CASE("server: an answer that cannot be sent becomes a 500") {
  const Folder folder;
  TestServer server;
  SUBCASE("a header that smuggles another one") {
    const std::string text = answer_to(server, get("/bad-header"));
    CHECK(text.starts_with("HTTP/1.1 500 "));
    CHECK(!contains(text, "Set-Cookie"));
  }
  SUBCASE("a file that does not exist") {
    server.file = folder / "missing";
    CHECK(answer_to(server, get("/file")).starts_with("HTTP/1.1 500 "));
  }
  SUBCASE("a folder") {
    server.file = folder / "";
    CHECK(answer_to(server, get("/file")).starts_with("HTTP/1.1 500 "));
  }
}

TEST_CASE("server: more connections than allowed are closed at once, and places become free again") {
  TestServer server({.max_connections = 2});
  {
    RawClient first(server.port());
    RawClient second(server.port());
    REQUIRE(first.connected());
    REQUIRE(second.connected());
    CHECK(!RawClient(server.port()).connected());
    REQUIRE(first.send(get("/echo", "")));
    CHECK(contains(first.read_until("body=").text, "200 OK"));
  }
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  bool served = false;
  while (!served && std::chrono::steady_clock::now() < deadline) {
    served = request("GET", server.url("/echo"), "", trusting()).has_value();
  }
  CHECK(served);
}

TEST_CASE("server: stop closes idle connections and open requests, and nothing is accepted any more") {
  TestServer server;
  RawClient idle(server.port());
  REQUIRE(idle.connected());
  std::vector<std::thread> waiting;
  std::atomic<int> ended = 0;
  for (int i = 0; i < 5; ++i) {
    waiting.emplace_back([&] {
      const auto result = request("GET", server.url("/later"), "", trusting());
      ended += !result && result.error().kind == ErrorKind::transient ? 1 : 0;
    });
  }
  const bool kept = server.wait_until_kept(5);
  server.on_loop([](Server& running) { running.stop(); });
  for (std::thread& thread : waiting) {
    thread.join();
  }
  CHECK(kept);
  CHECK(ended == 5);
  CHECK(idle.read_all().closed);
  const auto refused = request("GET", server.url("/echo"), "", trusting());
  REQUIRE(!refused.has_value());
  CHECK(refused.error().kind == ErrorKind::transient);
  server.release("too late");  // of closed connections: no effect
  CHECK(server.handled() == 5);
}

TEST_CASE("server: does not start with what it cannot use") {
  TestServer running;
  boost::asio::io_context loop;
  const auto start = [&](ServerOptions options, const Identity& identity = test_identity()) {
    options.certificate_pem = identity.certificate;
    options.key_pem = identity.key;
    return Server::start(loop.get_executor(), std::move(options), [](const Request&, const Reply&) {});
  };
  const Identity stranger = server_identity(test_ca());
  struct Row {
    const char* name;
    Result<std::unique_ptr<Server>> result;
    const char* text;
  };
  const Row rows[] = {
      {"a port in use", start({.port = running.port()}), "in use"},
      {"an address that is none", start({.address = "localhost"}), "is not an IP address"},
      {"no certificate", start({}, {"", stranger.key}), "reading a certificate"},
      {"no key", start({}, {stranger.certificate, ""}), "reading a private key"},
      {"a key of another certificate", start({}, {stranger.certificate, test_identity().key}), "does not belong"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    REQUIRE(!row.result.has_value());
    INFO(row.result.error().what);
    CHECK(row.result.error().kind == ErrorKind::permanent);
    CHECK(contains(row.result.error().what, row.text));
  }
}
