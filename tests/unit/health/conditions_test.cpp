#include <doctest/doctest.h>

#include "flops/health/conditions.hpp"

using namespace flops;
using namespace flops::health;

TEST_CASE("conditions: one is news once, keeps since when it holds, and takes a new text") {
  Conditions conditions;
  const SteadyTime start{std::chrono::hours(1)};
  CHECK(conditions.all().empty());
  CHECK(conditions.set("storage", "full", start));
  CHECK_FALSE(conditions.set("storage", "read-only", start + std::chrono::seconds(5)));
  REQUIRE(conditions.find("storage") != nullptr);
  CHECK(*conditions.find("storage") == Condition{"storage", start, "read-only"});
  CHECK(conditions.find("clock") == nullptr);
  CHECK(conditions.clear("storage"));
  CHECK_FALSE(conditions.clear("storage"));
  CHECK(conditions.all().empty());
  CHECK(conditions.set("storage", "full again", start + std::chrono::seconds(9)));
}

TEST_CASE("conditions: the oldest is first, and there are only so many") {
  Conditions conditions;
  for (std::size_t i = 0; i < max_conditions; ++i) {
    CHECK(conditions.set("c" + std::to_string(i), "t", SteadyTime{}));
  }
  CHECK_FALSE(conditions.set("one more", "t", SteadyTime{}));
  CHECK(conditions.all().size() == max_conditions);
  CHECK(conditions.all().front().name == "c0");
}

TEST_CASE("conditions: long texts are cut between characters") {
  CHECK(cut("abc", 3) == "abc");
  CHECK(cut("abcd", 3) == "abc");
  CHECK(cut("ab\u00e9", 3) == "ab");
  CHECK(cut("\u20ac", 2).empty());
  Conditions conditions;
  conditions.set(std::string(100, 'n'), std::string(max_text - 1, 'x') + "\u00e9", SteadyTime{});
  CHECK(conditions.all().front().name.size() == max_name);
  CHECK(conditions.all().front().text == std::string(max_text - 1, 'x'));
}
