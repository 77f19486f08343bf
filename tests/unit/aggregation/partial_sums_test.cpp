// Sums of sites, stored as they came.
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>

#include <doctest/doctest.h>

#include "fixture.hpp"
#include "flops/aggregation/weight.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

namespace {

using Bytes = std::vector<char>;

// Four devices' updates from a base, and what sites make of them.
struct Sites {
  Fixture fixture;
  std::vector<StoredUpdate> updates;
  std::vector<std::uint64_t> weights = {100, 7, 1234, 55};

  Sites() {
    for (unsigned i = 0; i < 4; ++i) {
      updates.push_back(fixture.update("u" + std::to_string(i), random_values(10 + i, 0.01F, fixture.base)));
    }
  }
  std::unique_ptr<RoundSum> open(const Digest& base = {}) {
    auto sum = RoundSum::open(fixture.models, base.empty() ? fixture.base_digest : base);
    REQUIRE(sum);
    return *std::move(sum);
  }
  std::unique_ptr<RoundSum> sum_of(std::initializer_list<std::size_t> which, std::uint64_t factor = 1) {
    auto sum = open();
    for (const std::size_t i : which) {
      REQUIRE(sum->add(updates[i], {weights[i], 3}, factor * weights[i]));
    }
    return sum;
  }
  StoredUpdate store(const std::string& name, const Bytes& bytes) {
    const auto file = fixture.folder / name;
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return {file, bytes.size(), fixture.base_digest, true};
  }
  static Bytes bytes_of(const RoundSum& sum) {
    Bytes bytes;
    REQUIRE(sum.write([&bytes](std::span<const std::byte> part) -> Result<> {
      const auto* from = reinterpret_cast<const char*>(part.data());
      bytes.insert(bytes.end(), from, from + part.size());
      return {};
    }));
    return bytes;
  }
  StoredUpdate handed_up(const std::string& name, std::initializer_list<std::size_t> which) {
    return store(name, bytes_of(*sum_of(which)));
  }
  Digest model_of(const RoundSum& sum) {
    const auto model = sum.close(fixture.models);
    REQUIRE_MESSAGE(model, (model ? "" : model.error().what));
    return model->digest;
  }
};

}  // namespace

TEST_CASE("partial sums: stored sums of sites give the model of one sum over all their devices") {
  Sites sites;
  const auto flat = sites.sum_of({0, 1, 2, 3});
  const Digest expected = sites.model_of(*flat);
  const auto north = sites.handed_up("north", {2, 0});
  const auto south = sites.handed_up("south", {3, 1});
  for (const bool swapped : {false, true}) {
    const auto top = sites.open();
    const auto add_north = [&] { REQUIRE(top->add(north, {1334, 3}, 1334)); };
    if (!swapped) {
      add_north();
    }
    REQUIRE(top->add(south, {62, 3}, 62));
    if (swapped) {
      add_north();
    }
    CHECK(top->total_weight() == flat->total_weight());
    CHECK(top->totals().samples == flat->totals().samples);
    CHECK(top->totals().sample_steps == flat->totals().sample_steps);
    CHECK(top->totals().participants == 2);
    CHECK(sites.model_of(*top) == expected);
  }
  // Beside a device's, or a site's, own parameters.
  const auto mixed = sites.open();
  REQUIRE(mixed->add(north, {1334, 3}, 1334));
  REQUIRE(mixed->add(sites.updates[1], {7, 3}, 7));
  REQUIRE(mixed->add(sites.updates[3], {55, 3}, 55));
  CHECK(sites.model_of(*mixed) == expected);
}

TEST_CASE("partial sums: with the factor of late updates, a punctual sum still is exact") {
  Sites sites;
  const auto flat = sites.sum_of({0, 1, 2, 3}, 16);
  const auto top = sites.open();
  REQUIRE(top->add(sites.handed_up("north", {2, 0}), {1334, 3}, weight_in_sum(1334, 0, true)));
  REQUIRE(top->add(sites.handed_up("south", {3, 1}), {62, 3}, weight_in_sum(62, 0, true)));
  CHECK(Sites::bytes_of(*top) == Sites::bytes_of(*flat));
}

TEST_CASE("partial sums: a late one counts with the step of its mean and less weight, like its model") {
  Sites sites;
  const auto late = sites.sum_of({2, 0});
  const auto stored = sites.store("late", Sites::bytes_of(*late));
  const Digest its_model = sites.model_of(*late);
  const Digest next = sites.fixture.store(random_values(90, 3.0F));  // other scales than the base's
  const std::uint64_t weight = weight_in_sum(1334, 1, true);
  const auto expected = sites.open(next);
  const auto top = sites.open(next);
  const StoredUpdate from_next = [&] {
    const auto base = sites.fixture.values_of(next);
    auto update = sites.fixture.update_from(base, "now", random_values(91, 0.01F, base));
    update.base = next;
    return update;
  }();
  for (RoundSum* sum : {expected.get(), top.get()}) {
    REQUIRE(sum->add(from_next, {10, 3}, 160));
  }
  REQUIRE(expected->add_model(its_model, sites.fixture.base_digest, {1334, 3}, weight));
  const auto added = top->add(stored, {1334, 3}, weight);
  REQUIRE_MESSAGE(added, (added ? "" : added.error().what));
  CHECK(Sites::bytes_of(*top) == Sites::bytes_of(*expected));
  CHECK(top->totals() == expected->totals());
}

TEST_CASE("partial sums: late, but the model has not changed since: its mean counts for less") {
  Sites sites;
  const auto own = sites.sum_of({0, 1});
  const auto top = sites.open();
  const std::uint64_t weight = weight_in_sum(107, 2, true);
  REQUIRE(weight % 107 != 0);
  REQUIRE(top->add(sites.store("late", Sites::bytes_of(*own)), {107, 3}, weight));
  CHECK(top->total_weight() == weight);
  CHECK(sites.model_of(*top) == sites.model_of(*own));
}

TEST_CASE("partial sums: what a hostile site may send is refused and leaves no trace") {
  Sites sites;
  const Bytes good = Sites::bytes_of(*sites.sum_of({2, 0}));
  const auto top = sites.sum_of({1});
  const Bytes before = Sites::bytes_of(*top);
  struct Row {
    const char* name;
    std::function<void(Bytes&)> change;
    ErrorKind kind;
    const char* says;
  };
  const auto set = [](std::size_t at, char value) { return [at, value](Bytes& bytes) { bytes[at] = value; }; };
  const Row rows[] = {
      {"an empty file", [](Bytes& bytes) { bytes.clear(); }, ErrorKind::corrupt, "truncated"},
      {"parameters instead", [](Bytes& bytes) { std::memcpy(bytes.data(), "FLPV", 4); }, ErrorKind::corrupt, "magic"},
      {"another layout", set(10, 'x'), ErrorKind::corrupt, "another layout"},
      {"another base's scales", set(56, 100), ErrorKind::corrupt, "other scales"},
      {"no weight", [](Bytes& bytes) { std::memset(bytes.data() + 40, 0, 8); }, ErrorKind::corrupt, "weight of 0"},
      {"a heavier one than was said", set(42, 1), ErrorKind::permanent, "its sender said 1334"},
      {"a weight of 2^31 and more", set(43, '\x80'), ErrorKind::corrupt, "total weight"},
      {"a lighter one: its sums are too large",
       [](Bytes& bytes) {
         bytes[41] = 0;
         bytes[40] = 1;
       },
       ErrorKind::corrupt, "allows"},
      {"the second half is missing", [](Bytes& bytes) { bytes.resize(bytes.size() / 2); }, ErrorKind::corrupt, ""},
      {"the last byte is missing", [](Bytes& bytes) { bytes.pop_back(); }, ErrorKind::corrupt, ""},
      {"more behind it", [](Bytes& bytes) { bytes.push_back('x'); }, ErrorKind::corrupt, "follow"},
      {"larger than any sum", [](Bytes& bytes) { bytes.resize(13 * parameters); }, ErrorKind::corrupt, "more than"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Bytes bytes = good;
    row.change(bytes);
    const auto refused = top->add(sites.store("bad", bytes), {1334, 3}, 1334);
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().kind == row.kind, refused.error().what);
    CHECK_MESSAGE(refused.error().what.find(row.says) != std::string::npos, refused.error().what);
    CHECK(Sites::bytes_of(*top) == before);
    CHECK(top->totals().participants == 1);
  }
}

TEST_CASE("partial sums: damage anywhere is refused, or is a sum of the same weight; it never crashes") {
  Sites sites;
  const Bytes good = Sites::bytes_of(*sites.sum_of({2, 0}));
  std::mt19937 random(5);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    Bytes bytes = good;
    for (int flips = 0; flips < 1 + i % 3; ++flips) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1U << random() % 8);
    }
    const auto top = sites.open();
    const auto added = top->add(sites.store("bad", bytes), {1334, 3}, 1334);
    if (!added) {
      ++refused;
      CHECK((added.error().kind == ErrorKind::corrupt || added.error().kind == ErrorKind::permanent));
      CHECK(top->total_weight() == 0);
    } else {
      CHECK(top->total_weight() == 1334);
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("partial sums: weights that do not fit are refused before the sum is read") {
  Sites sites;
  const auto top = sites.sum_of({0});
  StoredUpdate missing = sites.handed_up("north", {2, 0});
  std::filesystem::remove(missing.file);
  for (const std::uint64_t weight :
       {std::uint64_t{0}, tensor::max_total_weight, std::numeric_limits<std::uint64_t>::max()}) {
    const auto refused = top->add(missing, {1334, 3}, weight);
    REQUIRE_FALSE(refused);
    CHECK_MESSAGE(refused.error().what.starts_with("the weight"), refused.error().what);
  }
  CHECK(top->add(missing, {1334, 3}, 1334).error().what.find("opening the stored update") != std::string::npos);
}

TEST_CASE("partial sums: a late one whose model is gone is nobody's fault") {
  Sites sites;
  const auto top = sites.sum_of({0});
  StoredUpdate stored = sites.handed_up("north", {2, 0});
  stored.base = Digest::from_hex(std::string(64, 'a')).value();
  const auto failed = top->add(stored, {1334, 3}, 943);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::transient);
  CHECK(top->total_weight() == 100);
}
