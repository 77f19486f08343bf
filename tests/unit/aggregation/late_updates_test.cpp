// Updates that were made from an older model than the sum's base.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <doctest/doctest.h>

#include "fixture.hpp"
#include "flops/aggregation/weight.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

namespace {

struct Contribution {
  std::vector<float> from, values;
  std::int64_t staleness;
  std::uint64_t samples;
  StoredUpdate stored;
};

// A round on `fixture.base` with two updates from it and three from two older models.
std::vector<Contribution> contributions(Fixture& fixture) {
  const std::vector<float> older = random_values(50, 0.1F);
  const std::vector<float> oldest = random_values(51, 0.1F);
  std::vector<Contribution> made;
  made.push_back({fixture.base, random_values(10, 0.01F, fixture.base), 0, 100, {}});
  made.push_back({fixture.base, random_values(11, 0.01F, fixture.base), 0, 7, {}});
  made.push_back({older, random_values(12, 0.01F, older), 1, 1234, {}});
  made.push_back({older, random_values(13, 0.01F, older), 1, 1, {}});
  made.push_back({oldest, random_values(14, 0.01F, oldest), 2, 60, {}});
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i].stored = fixture.update_from(made[i].from, "u" + std::to_string(i), made[i].values);
    made[i].stored.base = fixture.store(made[i].from);
  }
  return made;
}

Digest sum_of(Fixture& fixture, const std::vector<Contribution>& order, bool scaled = true) {
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  for (const Contribution& one : order) {
    const auto added = (*sum)->add(one.stored, {one.samples, 1}, weight_in_sum(one.samples, one.staleness, scaled));
    REQUIRE_MESSAGE(added.has_value(), added.error().what);
  }
  const auto model = (*sum)->close(fixture.models);
  REQUIRE(model.has_value());
  return model->digest;
}

}  // namespace

TEST_CASE("weight: without late updates it is the samples, with them 16 times as much over the root of the lateness") {
  struct Row {
    const char* name;
    std::uint64_t samples;
    std::int64_t staleness;
    bool late_allowed;
    std::uint64_t weight;
  };
  const Row rows[] = {
      {"as ever", 100, 0, false, 100},
      {"fresh", 100, 0, true, 1600},
      {"one late", 100, 1, true, 1131},   // 1131.37
      {"two late", 100, 2, true, 924},    // 923.76
      {"three late", 100, 3, true, 800},  // exact
      {"one sample", 1, 1, true, 11},     // 11.31
      {"very late", 1, 1000, true, 1},    // 0.506
      {"the most that fits", 134'217'727, 0, true, 2'147'483'632},
      {"the most that fits, late", 134'217'727, 3, true, 1'073'741'816},
      {"too much stays too much", 134'217'728, 3, true, 2'147'483'648},
      {"far too much", 1ULL << 63U, 3, true, 1ULL << 63U},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      CHECK(weight_in_sum(row.samples, row.staleness, row.late_allowed) == row.weight);
    }
  }
}

TEST_CASE("weight: it is the integer nearest to the formula") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t samples = 1 + random() % (random() % 2 == 0 ? 100 : 134'217'727);
    const auto staleness = static_cast<std::int64_t>(random() % 1001);
    const long double exact = 16.0L * static_cast<long double>(samples) / std::sqrt(1.0L + staleness);
    const auto weight = weight_in_sum(samples, staleness, true);
    REQUIRE(weight >= 1);
    REQUIRE(std::fabs(static_cast<long double>(weight) - exact) <= 0.5L + 1e-9L);
  }
}

TEST_CASE("round sum: late updates count with their step and weight, the same bytes in every order") {
  Fixture fixture;
  std::vector<Contribution> order = contributions(fixture);
  const Digest model = sum_of(fixture, order);
  std::mt19937 random(4);
  for (int i = 0; i < 5; ++i) {
    std::ranges::shuffle(order, random);
    CHECK(sum_of(fixture, order) == model);
  }

  const std::vector<float> mean = fixture.values_of(model);
  for (std::size_t i = 0; i < parameters; i += 7) {
    long double sum = 0;
    long double total = 0;
    for (const Contribution& one : order) {
      const auto weight = static_cast<long double>(weight_in_sum(one.samples, one.staleness, true));
      sum += weight * (static_cast<long double>(fixture.base[i]) + one.values[i] - one.from[i]);
      total += weight;
    }
    // Within a unit in the last place of the largest value that takes part.
    REQUIRE(std::fabs(sum / total - static_cast<long double>(mean[i])) < 1.5e-8L);
  }
}

TEST_CASE("round sum: a round without late updates has the same bytes, whether they were allowed or not") {
  Fixture fixture;
  std::vector<Contribution> fresh = contributions(fixture);
  std::erase_if(fresh, [](const Contribution& one) { return one.staleness > 0; });
  REQUIRE(fresh.size() == 2);
  CHECK(sum_of(fixture, fresh, true) == sum_of(fixture, fresh, false));
}

TEST_CASE("round sum: a late update that changed nothing keeps the base, byte for byte") {
  Fixture fixture;
  const std::vector<float> older = random_values(50, 0.1F);
  Contribution idle{older, older, 4, 9, fixture.update_from(older, "idle", older)};
  idle.stored.base = fixture.store(older);
  CHECK(sum_of(fixture, {idle}) == fixture.base_digest);
}

TEST_CASE("round sum: a refused late update leaves no trace, wherever it goes wrong") {
  Fixture fixture;
  const std::vector<float> older = random_values(50, 0.1F);
  const Digest older_digest = fixture.store(older);
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  REQUIRE((*sum)->add(fixture.update("good", random_values(20, 0.01F, fixture.base)), {1, 1}, 160).has_value());
  const Digest expected = (*sum)->close(fixture.models).value().digest;

  std::vector<float> bad = random_values(21, 0.01F, older);
  StoredUpdate update;
  SUBCASE("NaN in the last block") {
    bad[parameters - 1] = std::numeric_limits<float>::quiet_NaN();
    update = fixture.update_from(older, "bad", bad);
  }
  SUBCASE("a value out of range in the middle") {
    bad[parameters / 2] = 1e30F;
    update = fixture.update_from(older, "bad", bad);
  }
  SUBCASE("a step out of range, though every value is in it") {
    // The scales end at 2^5 = 32 for parameters below 0.125.
    bad[parameters / 2] = std::copysign(std::nextafter(32.0F, 0.0F), fixture.base[parameters / 2]);
    std::vector<float> far = older;
    far[parameters / 2] = -bad[parameters / 2];
    update = fixture.update_from(far, "bad", bad);
    update.base = fixture.store(far);
  }
  SUBCASE("truncated in the last block") {
    update = fixture.update_from(older, "bad", bad);
    std::filesystem::resize_file(update.file, update.bytes - 5);
    update.bytes -= 5;
  }
  update.base = update.base.empty() ? older_digest : update.base;
  const auto refused = (*sum)->add(update, {1, 1}, 99);
  REQUIRE_FALSE(refused.has_value());
  CHECK((refused.error().kind == ErrorKind::permanent || refused.error().kind == ErrorKind::corrupt));
  CHECK((*sum)->total_weight() == 160);
  CHECK((*sum)->close(fixture.models).value().digest == expected);
}

TEST_CASE("round sum: a late update whose model is gone is not its sender's fault") {
  Fixture fixture;
  auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  StoredUpdate update = fixture.update("u", fixture.base);
  update.base = Digest::from_hex(std::string(64, 'e')).value();
  const auto refused = (*sum)->add(update, {1, 1}, 16);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind != ErrorKind::corrupt);
  CHECK((*sum)->total_weight() == 0);
}
