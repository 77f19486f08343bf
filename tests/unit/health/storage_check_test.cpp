#include <doctest/doctest.h>

#include <limits>

#include "flops/health/storage_check.hpp"

using namespace flops;
using namespace flops::health;

TEST_CASE("storage check: a task needs three models and the margin") {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  CHECK(room_for_model(0) == room_margin);
  CHECK(room_for_model(1000) == 3000 + room_margin);
  CHECK(room_for_model(most) == most);
  CHECK(room_for_model(most / 3) == most);
}

TEST_CASE("storage check: what lacks is said, and only then") {
  constexpr std::uint64_t mib = 1U << 20U;
  CHECK(lack_of_room(10 * mib, 10 * mib, "a task", "/s").empty());
  CHECK(lack_of_room(10 * mib, 10 * mib - 1, "a task", "/s") ==
        "no room for a task: 10 MiB are needed at /s, 9 MiB are free");
  CHECK(lack_of_room(1, 0, "a task", "/s") == "no room for a task: 1 MiB are needed at /s, 0 MiB are free");
}

TEST_CASE("storage check: every kind of trouble comes with what helps") {
  CHECK(storage_trouble({ErrorKind::resource, "database or disk is full"}, "/s") ==
        "database or disk is full; make room at /s");
  CHECK(storage_trouble({ErrorKind::denied, "attempt to write a readonly database"}, "/s").ends_with("mode of /s"));
  CHECK(storage_trouble({ErrorKind::transient, "disk I/O error"}, "/s") == "disk I/O error; look at the disk of /s");
  CHECK(storage_trouble({ErrorKind::corrupt, "malformed"}, "/s").find("the database is damaged") != std::string::npos);
}
