// Sums of clusters, handed up.
#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

namespace {

struct Parts {
  Fixture fixture;
  std::vector<StoredUpdate> updates;
  std::vector<std::uint64_t> weights = {100, 7, 1234, 55};

  Parts() {
    for (unsigned i = 0; i < 4; ++i) {
      updates.push_back(fixture.update("u" + std::to_string(i), random_values(10 + i, 0.01F, fixture.base)));
    }
  }
  std::unique_ptr<RoundSum> sum_of(std::initializer_list<std::size_t> which) {
    auto sum = RoundSum::open(fixture.models, fixture.base_digest);
    REQUIRE(sum);
    for (const std::size_t i : which) {
      REQUIRE((*sum)->add(updates[i], {weights[i], 3}, weights[i]));
    }
    return *std::move(sum);
  }
};

}  // namespace

TEST_CASE("clusters: merged sums give the model, and the totals, of one sum over all") {
  Parts parts;
  const auto flat = parts.sum_of({0, 1, 2, 3});
  const Digest expected = flat->close(parts.fixture.models)->digest;
  for (const bool swapped : {false, true}) {
    const auto top = parts.sum_of({});
    const auto north = parts.sum_of({2, 0});
    const auto south = parts.sum_of({3, 1});
    REQUIRE(top->merge(swapped ? *south : *north));
    REQUIRE(top->merge(swapped ? *north : *south));
    CHECK(top->totals() == flat->totals());
    CHECK(top->total_weight() == flat->total_weight());
    CHECK(top->close(parts.fixture.models)->digest == expected);
  }
}

TEST_CASE("clusters: a sum of another base is no part of this one") {
  Parts parts;
  const auto top = parts.sum_of({0});
  const Digest other = parts.sum_of({1})->close(parts.fixture.models)->digest;
  auto foreign = RoundSum::open(parts.fixture.models, other);
  REQUIRE(foreign);
  const auto refused = top->merge(**foreign);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::bug);
  CHECK(top->total_weight() == 100);
}

TEST_CASE("clusters: a cluster's model counts with its weight, and a late one with its step") {
  Parts parts;
  const Digest north = parts.sum_of({0, 1})->close(parts.fixture.models)->digest;
  const Digest south = parts.sum_of({2})->close(parts.fixture.models)->digest;
  const auto top = parts.sum_of({});
  REQUIRE(top->add_model(north, parts.fixture.base_digest, {107, 0}, 107));
  REQUIRE(top->add_model(south, parts.fixture.base_digest, {1234, 0}, 1234));
  const auto north_values = parts.fixture.values_of(north);
  const auto south_values = parts.fixture.values_of(south);
  const Digest global = top->close(parts.fixture.models)->digest;
  const auto mean = parts.fixture.values_of(global);
  for (std::size_t i = 0; i < parameters; i += 101) {
    const double expected = (107.0 * north_values[i] + 1234.0 * south_values[i]) / 1341;
    CHECK(mean[i] == doctest::Approx(expected).epsilon(1e-6));
  }
  auto next = RoundSum::open(parts.fixture.models, global);
  REQUIRE(next);
  REQUIRE((*next)->add_model(north, parts.fixture.base_digest, {107, 0}, 107));
  const auto later = parts.fixture.values_of((*next)->close(parts.fixture.models)->digest);
  for (std::size_t i = 0; i < parameters; i += 101) {
    const double expected = double{mean[i]} + (double{north_values[i]} - parts.fixture.base[i]);
    CHECK(later[i] == doctest::Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("clusters: a model that is not there leaves the sum as it was") {
  Parts parts;
  const auto top = parts.sum_of({0});
  CHECK_FALSE(top->add_model(Digest::from_hex(std::string(64, 'a')).value(), parts.fixture.base_digest, {1, 0}, 1));
  CHECK(top->total_weight() == 100);
}
