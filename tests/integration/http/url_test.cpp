#include <doctest/doctest.h>

#include <string>

#include "flops/http/client.hpp"

using namespace flops;
using namespace flops::http;

TEST_CASE("url: the parts of an address are found") {
  struct Row {
    const char* text;
    const char* host;
    const char* port;
    const char* path;
  };
  const Row rows[] = {{"https://fleet.example.org", "fleet.example.org", "443", "/"},
                      {"https://fleet.example.org/", "fleet.example.org", "443", "/"},
                      {"https://10.0.0.1:8443/v1/runs?limit=3", "10.0.0.1", "8443", "/v1/runs?limit=3"},
                      {"https://[::1]:8443/a", "::1", "8443", "/a"},
                      {"https://[fe80::1]", "fe80::1", "443", "/"},
                      {"https://host?q=a/b:c", "host", "443", "/?q=a/b:c"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto url = Url::parse(row.text);
    REQUIRE(url.has_value());
    CHECK(url->host == row.host);
    CHECK(url->port == row.port);
    CHECK(url->path == row.path);
  }
}

TEST_CASE("url: malformed addresses are refused as permanent") {
  const std::string texts[] = {"",
                               "fleet.example.org",
                               "http://fleet.example.org",
                               "HTTPS://x",
                               "https://",
                               "https:///path",
                               "https://:8443/",
                               "https://host:",
                               "https://host:0",
                               "https://host:65536",
                               "https://host:8443x",
                               "https://host:-1",
                               "https://user:word@host/",
                               "https://::1/",
                               "https://[::1",
                               "https://[::1]8443",
                               "https://[host]/",
                               "https://[]/",
                               "https://host/a b",
                               "https://host/a\r\nX-Evil: 1",
                               "https://host/a#fragment",
                               std::string("https://host/\0", 14),
                               "https://h\xc3\xb6st/",
                               "https://" + std::string(254, 'a'),
                               "https://host/" + std::string(9000, 'a')};
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 60));
    const auto url = Url::parse(text);
    REQUIRE(!url.has_value());
    CHECK(url.error().kind == ErrorKind::permanent);
    CHECK(url.error().what.starts_with("a URL "));
  }
}
