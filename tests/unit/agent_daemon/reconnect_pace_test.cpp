#include "reconnect_pace.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace flops::agent;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

// The largest of many draws of the n-th wait comes near its ceiling, the smallest near nothing.
struct Spread {
  milliseconds least, most;
};
Spread spread_of(const ReconnectPace& pace) {
  std::mt19937_64 random(7);
  Spread spread{std::chrono::hours(100), 0ms};
  for (int n = 0; n < 2000; ++n) {
    ReconnectPace copy = pace;
    const milliseconds wait = copy.next(random);
    spread.least = std::min(spread.least, wait);
    spread.most = std::max(spread.most, wait);
  }
  return spread;
}

void check_ceiling(const ReconnectPace& pace, milliseconds ceiling) {
  const Spread spread = spread_of(pace);
  CHECK(spread.least > 0ms);
  CHECK(spread.least < ceiling / 20);
  CHECK(spread.most <= ceiling);
  CHECK(spread.most > ceiling - ceiling / 20);
}

ReconnectPace after_failures(int failures, std::chrono::seconds window = 0s) {
  ReconnectPace pace;
  pace.set_window(window);
  std::mt19937_64 random(1);
  for (int n = 0; n < failures; ++n) {
    (void)pace.next(random);
  }
  return pace;
}

}  // namespace

TEST_CASE("reconnect pace: waits are jittered over the whole range and double up to a minute") {
  check_ceiling(after_failures(0), 1s);
  check_ceiling(after_failures(1), 2s);
  check_ceiling(after_failures(3), 8s);
  check_ceiling(after_failures(6), 60s);
  check_ceiling(after_failures(100), 60s);
}

TEST_CASE("reconnect pace: the first wait is spread over the window, later ones go beyond it") {
  check_ceiling(after_failures(0, 20s), 20s);
  check_ceiling(after_failures(1, 20s), 20s);
  check_ceiling(after_failures(4, 20s), 20s);
  check_ceiling(after_failures(5, 20s), 32s);
  check_ceiling(after_failures(9, 20s), 60s);
  check_ceiling(after_failures(0, 600s), 600s);
  check_ceiling(after_failures(9, 600s), 600s);
}

TEST_CASE("reconnect pace: a process begins at once in a small fleet, and spread over the window in a large one") {
  std::mt19937_64 random(3);
  ReconnectPace pace;
  CHECK(pace.before_first(random) == 0ms);
  pace.set_window(1s);
  CHECK(pace.before_first(random) == 0ms);
  pace.set_window(30s);
  std::vector<milliseconds> waits;
  for (int n = 0; n < 500; ++n) {
    waits.push_back(pace.before_first(random));
  }
  CHECK(*std::ranges::max_element(waits) <= 30s);
  CHECK(*std::ranges::max_element(waits) > 28s);
  CHECK(*std::ranges::min_element(waits) < 2s);
  check_ceiling(pace, 30s);  // that was no failure
}

TEST_CASE("reconnect pace: a link that works takes back a doubling each second, and all after ten") {
  struct Row {
    const char* name;
    LinkLife life;
    milliseconds ceiling;  // after five failures: 32 s
  };
  for (const Row& row :
       {Row{"dropped at once", {5ms, 0ms}, 32s}, Row{"without a status, for nine seconds", {9s, 0ms}, 32s},
        Row{"without a status, for ten seconds", {10s, 0ms}, 1s},
        Row{"dropped just after the status", {900ms, 800ms}, 32s},
        Row{"two seconds after the status", {3s, 2500ms}, 8s}, Row{"nine seconds after the status", {9s, 9s}, 1s}}) {
    SUBCASE(row.name) {
      ReconnectPace pace = after_failures(5);
      pace.ended(row.life);
      check_ceiling(pace, row.ceiling);
    }
  }
}

TEST_CASE("reconnect pace: a broker restarted again and again does not make a device wait long") {
  ReconnectPace pace;
  std::mt19937_64 random(5);
  for (int restart = 0; restart < 20; ++restart) {
    (void)pace.next(random);  // the link broke
    (void)pace.next(random);  // the broker was not there yet
    pace.ended({4s, 3s});
    check_ceiling(pace, 1s);
  }
}

TEST_CASE("reconnect pace: a broker that accepts and drops at once is asked once a minute in the end") {
  for (const milliseconds working : {0ms, 990ms}) {
    ReconnectPace pace;
    std::mt19937_64 random(5);
    for (int round = 0; round < 10; ++round) {
      (void)pace.next(random);
      pace.ended({1s, working});
    }
    check_ceiling(pace, 60s);
  }
}

TEST_CASE("reconnect pace: whoever's link is taken over stays away, each time longer, until a link lasts") {
  ReconnectPace pace;
  std::mt19937_64 random(5);
  milliseconds ceiling = 60s;
  for (int time = 0; time < 10; ++time) {
    pace.ended({20s, 20s, true});
    const Spread spread = spread_of(pace);
    CHECK(spread.least >= ceiling / 2);
    CHECK(spread.least < ceiling * 11 / 20);
    CHECK(spread.most <= ceiling);
    CHECK(spread.most > ceiling * 19 / 20);
    ceiling = std::min<milliseconds>(ceiling * 2, 1h);
  }
  (void)pace.next(random);
  check_ceiling(pace, 1s);  // the broker does not answer: that is another matter
  pace.ended({20s, 20s, false});
  pace.ended({20s, 20s, true});
  CHECK(spread_of(pace).most <= 60s);
}
