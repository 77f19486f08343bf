#include <doctest/doctest.h>

#include <string>

#include "flops/crypto/digest.hpp"
#include "flops/crypto/enrolment_token.hpp"

using namespace flops;
using namespace flops::crypto;

TEST_CASE("token: text and value are the same thing") {
  const EnrolmentToken token = EnrolmentToken::generate(sha256("a certificate"));
  const std::string text = token.text();
  CHECK(text.starts_with("flops1."));
  CHECK(text.size() == 73);
  const auto again = EnrolmentToken::parse(text);
  REQUIRE(again.has_value());
  CHECK(again->secret == token.secret);
  CHECK(again->ca_fingerprint == sha256("a certificate"));
  CHECK(again->secret_digest() == sha256(token.secret));
}

TEST_CASE("token: every token has a secret of its own") {
  const Digest ca = sha256("ca");
  CHECK(EnrolmentToken::generate(ca).secret.size() == 16);
  CHECK(EnrolmentToken::generate(ca).secret != EnrolmentToken::generate(ca).secret);
}

TEST_CASE("token: malformed texts are refused without repeating the secret") {
  const std::string good = EnrolmentToken{std::string(16, 'S'), sha256("ca")}.text();
  const std::string secret = good.substr(7, 22);
  const auto replaced = [&](std::size_t at, char c) {
    std::string text = good;
    text[at] = c;
    return text;
  };
  struct Row {
    const char* name;
    std::string text;
  };
  const Row rows[] = {{"nothing", ""},
                      {"the prefix alone", "flops1."},
                      {"another version", "flops2." + good.substr(7)},
                      {"upper case", "FLOPS1." + good.substr(7)},
                      {"cut off", good.substr(0, good.size() - 1)},
                      {"one character too many", good + "A"},
                      {"a line break at the end", good + "\n"},
                      {"no separator", replaced(29, 'A')},
                      {"a bad character in the secret", replaced(10, '!')},
                      {"a bad character in the fingerprint", replaced(40, '+')},
                      {"a second separator", replaced(10, '.')},
                      {"secret bits that do not belong", replaced(28, '_')},
                      {"fingerprint bits that do not belong", replaced(72, '_')},
                      {"a megabyte", "flops1." + std::string(1U << 20U, 'A')}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = EnrolmentToken::parse(row.text);
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::denied);
      CHECK(result.error().what.find(secret) == std::string::npos);
    }
  }
}
