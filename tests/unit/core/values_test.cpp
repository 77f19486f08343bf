#include <doctest/doctest.h>

#include <cerrno>
#include <random>

#include "flops/core/backoff.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"

using namespace flops;

TEST_CASE("id: only the grammar passes") {
  for (const char* good : {"a", "device-1", "0", "x.y_z-9"}) {
    CHECK_MESSAGE(DeviceId::parse(good).has_value(), good);
  }
  for (const std::string& bad :
       {std::string(), std::string("A"), std::string("-a"), std::string("a/b"), std::string("a+"), std::string("a#"),
        std::string("a b"), std::string("ä"), std::string(65, 'a'), std::string("a\0b", 3), std::string("../x")}) {
    CHECK_MESSAGE(!DeviceId::parse(bad).has_value(), bad);
  }
  CHECK(DeviceId::parse(std::string(64, 'a')).has_value());
}

TEST_CASE("digest: hexadecimal goes both ways, anything else is refused") {
  const std::string hex = "00ff" + std::string(60, 'a');
  const auto digest = Digest::from_hex(hex);
  REQUIRE(digest.has_value());
  CHECK(digest->hex() == hex);
  CHECK_FALSE(digest->empty());
  CHECK(Digest().empty());
  for (const std::string& bad :
       {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'), std::string(63, 'a') + "g"}) {
    CHECK_MESSAGE(!Digest::from_hex(bad).has_value(), bad);
  }
}

TEST_CASE("error: context stands before the cause, and errno decides the kind") {
  const Error error = errno_error(ENOSPC, "writing x");
  CHECK(error.kind == ErrorKind::resource);
  CHECK(error.what == "writing x: No space left on device");
  CHECK(error.within("saving the run").what == "saving the run: writing x: No space left on device");
  CHECK(errno_error(EACCES, "x").kind == ErrorKind::denied);
  CHECK(errno_error(EAGAIN, "x").kind == ErrorKind::transient);
  CHECK(errno_error(EROFS, "x").kind == ErrorKind::denied);
  CHECK(errno_error(EIO, "x").kind == ErrorKind::transient);
  CHECK(errno_error(ENOENT, "x").kind == ErrorKind::permanent);
}

TEST_CASE("backoff: waits are jittered over the whole range, grow, and stay under the cap") {
  using namespace std::chrono_literals;
  std::mt19937 random(7);
  Backoff backoff(100ms, 10s);
  for (int attempt = 0; attempt < 60; ++attempt) {
    const auto wait = backoff.next(random);
    CHECK(wait >= 1ms);
    CHECK(wait <= 10s);
    if (attempt == 0) {
      CHECK(wait <= 100ms);
    }
  }
  // Full jitter: short waits stay possible at the cap.
  bool some_short = false;
  for (int i = 0; i < 200; ++i) {
    some_short = some_short || backoff.next(random) < 1s;
  }
  CHECK(some_short);
  backoff.reset();
  CHECK(backoff.next(random) <= 100ms);
}

TEST_CASE("clock: times for people are UTC") {
  CHECK(iso8601(0) == "1970-01-01T00:00:00Z");
  CHECK(iso8601(1'700'000'000'000) == "2023-11-14T22:13:20Z");
}
