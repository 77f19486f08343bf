#include <doctest/doctest.h>

#include <set>
#include <span>
#include <string>
#include <utility>

#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::crypto;

TEST_CASE("digest: sha256 gives the published values") {
  struct Row {
    std::string text;
    const char* hex;
  };
  const Row rows[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.hex);
    CHECK(sha256(row.text).hex() == row.hex);
  }
}

TEST_CASE("digest: streaming gives the same value as one call, however the text is cut") {
  const std::string text = random_bytes(1000);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{999}}) {
    CAPTURE(cut);
    Sha256 hash;
    hash.update(std::as_bytes(std::span(text.data(), cut)));
    Sha256 moved = std::move(hash);
    moved.update(std::as_bytes(std::span(text.data() + cut, text.size() - cut)));
    CHECK(moved.finish() == sha256(text));
  }
}

TEST_CASE("random_bytes: has the asked size and does not repeat") {
  CHECK(random_bytes(0).empty());
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string bytes = random_bytes(16);
    CHECK(bytes.size() == 16);
    seen.insert(bytes);
  }
  CHECK(seen.size() == 100);
}

TEST_CASE("base64url: encodes the vectors of RFC 4648 without padding, and back") {
  struct Row {
    std::string bytes;
    const char* text;
  };
  const Row rows[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(base64url(row.bytes) == row.text);
    const auto back = from_base64url(row.text);
    REQUIRE(back.has_value());
    CHECK(*back == row.bytes);
  }
}

TEST_CASE("base64url: every length round-trips") {
  for (std::size_t size = 0; size < 70; ++size) {
    const std::string bytes = random_bytes(size);
    const auto back = from_base64url(base64url(bytes));
    REQUIRE(back.has_value());
    CHECK(*back == bytes);
  }
}

TEST_CASE("base64url: what is not an encoding is refused") {
  struct Row {
    const char* name;
    std::string text;
  };
  const Row rows[] = {{"a single character", "A"},
                      {"padding", "Zg=="},
                      {"the other alphabet", "+/+/"},
                      {"white space", "Zm 9v"},
                      {"a NUL", std::string("Zm\0v", 4)},
                      {"a byte above ASCII", "Zm9\xc3"},
                      {"unused bits that are not zero", "Zh"},
                      {"unused bits in three characters", "Zm9"}};
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto result = from_base64url(row.text);
      REQUIRE(!result.has_value());
      CHECK(result.error().kind == ErrorKind::corrupt);
      CHECK(result.error().what.starts_with("base64url: "));
    }
  }
}

TEST_CASE("equal_constant_time: compares whole strings") {
  CHECK(equal_constant_time("", ""));
  CHECK(equal_constant_time("secret", "secret"));
  CHECK(!equal_constant_time("secret", "secreT"));
  CHECK(!equal_constant_time("Secret", "secret"));
  CHECK(!equal_constant_time("secret", "secret1"));
}
