#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fixture.hpp"
#include "raw_server.hpp"

using namespace flops;
using namespace flops::http;
using namespace flops::http::test;

namespace {

const std::string kOk = "HTTP/1.1 200 OK\r\n";

struct Row {
  const char* name;
  std::string answer;
  ErrorKind kind;
  const char* text;
};

// What a server can do wrong, for a client that takes 1000 bytes.
std::vector<Row> rows() {
  return {
      {"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", ErrorKind::permanent, "is not HTTP"},
      {"a header without end", kOk + "X: " + std::string(40'000, 'x'), ErrorKind::permanent, "is not HTTP"},
      {"nothing", "", ErrorKind::transient, "closed the connection early"},
      {"half a header", "HTTP/1.1 200 O", ErrorKind::transient, "closed the connection early"},
      {"half a body", kOk + "Content-Length: 10\r\n\r\nabc", ErrorKind::transient, "closed the connection early"},
      {"half a chunk", kOk + "Transfer-Encoding: chunked\r\n\r\na\r\nabc", ErrorKind::transient, "closed the"},
      {"an absurd length", kOk + "Content-Length: 18446744073709551615\r\n\r\n", ErrorKind::resource,
       "than 1000 bytes"},
      {"a length above the limit", kOk + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x'), ErrorKind::resource,
       "larger than 1000 bytes"},
      {"chunks above the limit", kOk + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x'),
       ErrorKind::resource, "larger than 1000 bytes"},
      {"no length and too much", kOk + "\r\n" + std::string(1001, 'x'), ErrorKind::resource, "larger than 1000 bytes"},
  };
}

}  // namespace

TEST_CASE("client: what a hostile or broken server answers is refused") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    const RawServer server(row.answer);
    ClientOptions options = trusting();
    options.max_response = 1000;
    const auto result = request("GET", server.url(), "", options);
    REQUIRE(!result.has_value());
    INFO(result.error().what);
    CHECK(result.error().kind == row.kind);
    CHECK(contains(result.error().what, row.text));
  }
}

TEST_CASE("download: what a hostile or broken server answers is refused and leaves nothing") {
  const Folder folder;
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    const RawServer server(row.answer);
    const auto result = download(server.url(), folder / "file", 1000, trusting());
    REQUIRE(!result.has_value());
    INFO(result.error().what);
    CHECK(result.error().kind == row.kind);
    CHECK(contains(result.error().what, row.text));
    CHECK(folder.entries() == 0);
  }
}

TEST_CASE("client: chunked answers and answers without a length are read") {
  SUBCASE("chunked") {
    const RawServer server(kOk + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    CHECK(must(request("GET", server.url(), "", trusting())).body == "abcde");
  }
  SUBCASE("until the connection closes") {
    const RawServer server(kOk + "\r\nabcde");
    CHECK(must(request("GET", server.url(), "", trusting())).body == "abcde");
  }
}

TEST_CASE("download: the text of a refusal is shown without control characters") {
  const Folder folder;
  const RawServer server("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno\x1b[2J way");
  const auto result = download(server.url(), folder / "file", 1000, trusting());
  REQUIRE(!result.has_value());
  CHECK(result.error().kind == ErrorKind::permanent);
  CHECK(contains(result.error().what, "status 403: no [2J wa"));
}
