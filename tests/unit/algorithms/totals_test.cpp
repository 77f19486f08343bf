#include "support.hpp"

using namespace flops;
using namespace flops::algorithms;

TEST_CASE("totals: parts merged are the whole, in every order") {
  std::mt19937_64 random(5);
  std::vector<Contribution> all;
  all.reserve(50);
  for (int i = 0; i < 50; ++i) {
    all.push_back({1 + random() % 10'000, random() % 500});
  }
  Totals whole;
  Totals parts[3];
  for (std::size_t i = 0; i < all.size(); ++i) {
    REQUIRE(whole.add(all[i]).has_value());
    REQUIRE(parts[i % 3].add(all[all.size() - 1 - i]).has_value());
  }
  REQUIRE(parts[2].merge(parts[0]).has_value());
  REQUIRE(parts[2].merge(parts[1]).has_value());
  CHECK(parts[2] == whole);
  CHECK(whole.participants == 50);
}

TEST_CASE("totals: samples a step are rounded to the nearest 1/4096 and are never nothing") {
  CHECK(samples_per_step({3, 2 * rate_unit}) == 2);  // 1.5
  CHECK(samples_per_step({1, 3 * rate_unit}) == 1);  // a third
  CHECK(samples_per_step({10, 4}) == 10'240);
  CHECK(samples_per_step({1, ~0ULL}) == 1);
  CHECK(samples_per_step({0, 5}) == 0);
  CHECK(samples_per_step({5, 0}) == 0);
  CHECK(samples_per_step({max_samples, 1}) == max_samples * 4096);
  CHECK(samples_per_step({max_samples + 1, 1}) == 0);
}

TEST_CASE("totals: what would pass a limit is refused and changes nothing") {
  Totals totals;
  REQUIRE(totals.add({max_samples - 10, 1}).has_value());
  const Totals before = totals;
  for (const Contribution& work : {Contribution{11, 1}, Contribution{~0ULL, 0}, Contribution{1ULL << 33U, 1ULL << 33U},
                                   Contribution{2, max_sample_steps / 2}}) {
    const auto refused = totals.add(work);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::permanent);
    CHECK(totals == before);
  }
  CHECK_FALSE(totals.merge(before).has_value());
  CHECK(totals == before);
  CHECK(totals.add({10, 1}).has_value());
}
