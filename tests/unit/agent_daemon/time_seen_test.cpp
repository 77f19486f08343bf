#include "time_seen.hpp"

#include <doctest/doctest.h>

#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::agent;

TEST_CASE("time seen: it is kept over a restart, and what is no time is none") {
  const test::TemporaryFolder folder;
  {
    Storage storage = Storage::open(folder.path(), Damaged::refuse, 0).value();
    CHECK(stored_time_seen(storage) == 0);
    REQUIRE(store_time_seen(storage, 1'800'000'000).has_value());
  }
  Storage storage = Storage::open(folder.path(), Damaged::refuse, 0).value();
  CHECK(stored_time_seen(storage) == 1'800'000'000);
  for (const char* bad : {"", "x", "12x", "-5", "99999999999999999999"}) {
    CAPTURE(bad);
    REQUIRE(storage.put_meta("clock.newest", bad).has_value());
    CHECK(stored_time_seen(storage) == 0);
  }
}
