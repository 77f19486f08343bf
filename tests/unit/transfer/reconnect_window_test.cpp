#include "flops/transfer/reconnect_window.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace std::chrono_literals;
using flops::transfer::reconnect_window;

TEST_CASE("reconnect window: grows with the fleet at the given rate, between a second and the longest") {
  struct Row {
    const char* name;
    std::int64_t devices, rate;
    std::chrono::seconds longest, window;
  };
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  for (const Row& row : {Row{"no device", 0, 50, 600s, 1s}, Row{"a handful", 5, 50, 600s, 1s},
                         Row{"exactly a second's worth", 50, 50, 600s, 1s}, Row{"one more", 51, 50, 600s, 2s},
                         Row{"a large fleet", 10'000, 50, 600s, 200s}, Row{"the longest", 1'000'000, 50, 600s, 600s},
                         Row{"a slow broker", 200, 1, 600s, 200s}, Row{"longest below the shortest", 500, 1, 0s, 1s},
                         Row{"no sense", -1, 0, -5s, 1s}, Row{"does not overflow", huge, 2, 3600s, 3600s}}) {
    SUBCASE(row.name) {
      CHECK(reconnect_window(row.devices, row.rate, row.longest) == row.window);
    }
  }
}
