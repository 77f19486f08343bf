#include "flops/tensor/accumulator.hpp"

#include <cmath>
#include <limits>

#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

struct Contribution {
  std::vector<float> values;
  std::uint32_t weight;
};

Accumulator accumulator(const Layout& layout, Scales scales) {
  auto created = Accumulator::create(layout, std::move(scales));
  REQUIRE(created.has_value());
  return std::move(*created);
}

std::vector<float> mean_of(const Accumulator& sum, std::size_t count) {
  std::vector<float> mean(count, nan_value);
  REQUIRE(sum.mean(to_memory(mean)).has_value());
  return mean;
}

// The mean of one-element vectors.
float mean_of_scalars(int scale, const std::vector<Contribution>& contributions) {
  Accumulator sum = accumulator(layout_of({{"x", {}}}), {scale});
  for (const Contribution& c : contributions) {
    REQUIRE(sum.add(0, c.values, c.weight).has_value());
    sum.count(c.weight);
  }
  return mean_of(sum, 1)[0];
}

TEST_CASE("accumulator: the mean of three updates has the bits that exact rational arithmetic gives") {
  Accumulator sum = accumulator(layout_of({{"x", {4}}}), {4});
  const std::vector<Contribution> contributions{
      {{0.1F, -3.7F, 1e-15F, 15.999999F}, 60'000},
      {{0.3F, 2.5F, -2e-15F, -15.5F}, 1'234},
      {{-0.7F, 1.1F, 5e-16F, 0.123456F}, 999'983},
  };
  for (const Contribution& c : contributions) {
    REQUIRE(sum.fits(c.weight));
    REQUIRE(sum.add(0, c.values, c.weight).has_value());
    sum.count(c.weight);
  }
  CHECK(sum.total_weight() == 1'061'217);
  CHECK(bits_of(mean_of(sum, 4)) == std::vector<std::uint32_t>{0xbf2752ba, 0x3f548ab4, 0x26174dc5, 0x3f806006});
}

TEST_CASE("accumulator: the mean is rounded half to even, subnormals included") {
  const float unit = 0x1p-123F;  // the unit of scale -60
  const std::uint32_t large = 1U << 26U;
  struct Row {
    const char* name;
    int scale;
    std::vector<Contribution> contributions;
    float mean;
  };
  const std::vector<Row> rows{
      {"one value is itself", 4, {{{0.1F}, 7}}, 0.1F},
      {"halfway between an even and an odd float: down", 4, {{{1.0F}, 1}, {{1.0F + 0x1p-23F}, 1}}, 1.0F},
      {"halfway between an odd and an even float: up",
       4,
       {{{1.0F + 0x1p-23F}, 1}, {{1.0F + 0x1p-22F}, 1}},
       1.0F + 0x1p-22F},
      {"just above half: up", 4, {{{1.0F}, 1}, {{1.0F + 0x1p-23F}, 1}, {{1.0F + 0x1p-23F}, 1}}, 1.0F + 0x1p-23F},
      {"rounding carries into the exponent", 4, {{{2.0F}, 3}, {{2.0F - 0x1p-23F}, 1}}, 2.0F},
      {"minus mirrors plus", 4, {{{-1.0F}, 1}, {{-1.0F - 0x1p-23F}, 1}}, -1.0F},
      {"what cancels is plus zero", 4, {{{-1.5F}, 5}, {{1.5F}, 5}}, 0.0F},
      {"minus zero is zero", 4, {{{-0.0F}, 5}}, 0.0F},
      {"a third", 4, {{{1.0F}, 1}, {{0.0F}, 2}}, 1.0F / 3.0F},
      {"half of the smallest subnormal: to zero", -60, {{{unit}, 1}, {{0.0F}, (1U << 27U) - 1}}, 0.0F},
      {"above half of the smallest subnormal: up", -60, {{{unit}, 1}, {{0.0F}, (1U << 27U) - 2}}, 0x1p-149F},
      {"one and a half smallest subnormals: to even", -60, {{{3 * unit}, 1}, {{0.0F}, (1U << 27U) - 1}}, 0x1p-148F},
      {"far below the smallest subnormal", -60, {{{unit}, 1}, {{0.0F}, 2'000'000'000}}, 0.0F},
      {"far below, negative", -60, {{{-unit}, 1}, {{0.0F}, 2'000'000'000}}, -0.0F},
      {"exactly the smallest subnormal", -60, {{{unit}, 1}, {{0.0F}, large - 1}}, 0x1p-149F},
      {"a subnormal that becomes normal by rounding",
       -60,
       {{{0xffffffp-123F}, 1}, {{0.0F}, (1U << 27U) - 1}},
       0x1p-126F},
      {"below the unit: half to even, down", 4, {{{0x1p-60F}, 1}}, 0.0F},
      {"below the unit: half to even, up", 4, {{{3 * 0x1p-60F}, 1}}, 0x1p-58F},
      {"the largest value of the largest scale", 127, {{{0x1.fffffep126F}, 2'147'483'647}}, 0x1.fffffep126F},
      {"the most negative value", 127, {{{-0x1.fffffep126F}, 2'147'483'647}}, -0x1.fffffep126F},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const float mean = mean_of_scalars(row.scale, row.contributions);
      CAPTURE(mean);
      CHECK(bits_of(mean) == bits_of(row.mean));
    }
  }
}

TEST_CASE("accumulator: a value that is not finite or out of range is refused, and nothing of its span is added") {
  const Layout layout = layout_of({{"a", {3}}, {"b", {2}}});
  struct Row {
    const char* name;
    float bad;
    std::size_t at;
    const char* says;
  };
  const std::vector<Row> rows{
      {"infinity", infinity, 0, "a[0] = inf"},
      {"minus infinity", -infinity, 2, "a[2] = -inf"},
      {"NaN", nan_value, 1, "a[1] = nan"},
      {"a signalling NaN", float_of(0xff800001), 4, "b[1] = "},
      {"the bound of the first tensor", 16.0F, 2, "a[2] = 16 is outside ±2^4"},
      {"the bound of the second tensor", -1024.0F, 3, "b[0] = -1024 is outside ±2^10"},
      {"the largest float", 3.4028235e38F, 4, "b[1] = 3.4028235e+38 is outside ±2^10"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      Accumulator sum = accumulator(layout, {4, 10});
      std::vector<float> values{1, 2, 3, 4, 5};
      REQUIRE(sum.add(0, values, 1).has_value());
      values[row.at] = row.bad;
      const auto added = sum.add(0, values, 1);
      REQUIRE_FALSE(added.has_value());
      CHECK(added.error().kind == ErrorKind::permanent);
      INFO(added.error().what);
      CHECK(added.error().what.find(row.says) != std::string::npos);
      sum.subtract(0, values, 1);  // was never added
      sum.count(1);
      CHECK(mean_of(sum, 5) == std::vector<float>{1, 2, 3, 4, 5});
    }
  }
}

TEST_CASE("accumulator: values just inside the range are accepted, with each tensor's own range") {
  Accumulator sum = accumulator(layout_of({{"a", {2}}, {"b", {}}, {"c", {1}}}), {4, -60, 127});
  const std::vector<float> values{std::nextafter(16.0F, 0.0F), -std::nextafter(16.0F, 0.0F),
                                  std::nextafter(0x1p-60F, 0.0F), std::nextafter(0x1p127F, 0.0F)};
  REQUIRE(sum.add(0, values, 3).has_value());
  sum.count(3);
  CHECK(bits_of(mean_of(sum, 4)) == bits_of(values));
}

TEST_CASE("accumulator: spans outside the layout and bad weights are refused") {
  Accumulator sum = accumulator(layout_of({{"a", {3}}}), {4});
  const std::vector<float> two{1, 1};
  CHECK(sum.add(2, two, 1).error().kind == ErrorKind::permanent);
  CHECK(sum.add(4, {}, 1).error().kind == ErrorKind::permanent);
  CHECK(sum.add(UINT64_MAX, two, 1).error().kind == ErrorKind::permanent);
  CHECK(sum.add(0, two, 0).error().kind == ErrorKind::permanent);
  CHECK(sum.add(0, two, 1U << 31U).error().kind == ErrorKind::permanent);
  CHECK(sum.add(3, {}, 1).has_value());
  CHECK(sum.add(0, two, (1U << 31U) - 1).has_value());
}

TEST_CASE("accumulator: the total weight is bounded") {
  Accumulator sum = accumulator(layout_of({{"a", {1}}}), {4});
  CHECK_FALSE(sum.fits(0));
  CHECK_FALSE(sum.fits(1U << 31U));
  REQUIRE(sum.fits((1U << 31U) - 2));
  sum.count((1U << 31U) - 2);
  CHECK(sum.fits(1));
  CHECK_FALSE(sum.fits(2));
  CHECK(sum.total_weight() == max_total_weight - 1);
}

TEST_CASE("accumulator: scales that do not fit the layout are refused") {
  const Layout layout = layout_of({{"a", {1}}, {"b", {1}}});
  for (const Scales& scales : {Scales{}, Scales{4}, Scales{4, 4, 4}, Scales{4, 128}, Scales{-61, 4}}) {
    CHECK(Accumulator::create(layout, scales).error().kind == ErrorKind::permanent);
  }
  CHECK(accumulator(layout, {-60, 127}).scales() == Scales{-60, 127});
  CHECK(accumulator(layout, {4, 4}).memory_bytes() == 24);
}

TEST_CASE("accumulator: a mean of nothing is a bug") {
  const Accumulator sum = accumulator(layout_of({{"a", {2}}}), {4});
  std::vector<float> out(2);
  CHECK(sum.mean(to_memory(out)).error().kind == ErrorKind::bug);
}

TEST_CASE("accumulator: a copy is a sum of its own") {
  Accumulator sum = accumulator(layout_of({{"a", {2}}}), {4});
  REQUIRE(sum.add(0, std::vector<float>{1, 2}, 1).has_value());
  sum.count(1);
  Accumulator copy = sum;
  REQUIRE(copy.add(0, std::vector<float>{3, 4}, 1).has_value());
  copy.count(1);
  CHECK(mean_of(sum, 2) == std::vector<float>{1, 2});
  CHECK(mean_of(copy, 2) == std::vector<float>{2, 3});
  sum = std::move(copy);
  CHECK(mean_of(sum, 2) == std::vector<float>{2, 3});
}

TEST_CASE("accumulator: partial sums merge, and those that do not belong are refused") {
  const Layout layout = layout_of({{"a", {2}}});
  Accumulator sum = accumulator(layout, {4});
  Accumulator part = accumulator(layout, {4});
  REQUIRE(sum.add(0, std::vector<float>{1, -1}, 1).has_value());
  sum.count(1);
  REQUIRE(part.add(0, std::vector<float>{4, -4}, 2).has_value());
  part.count(2);
  REQUIRE(sum.merge(part).has_value());
  CHECK(mean_of(sum, 2) == std::vector<float>{3, -3});
  REQUIRE(sum.merge(sum).has_value());
  CHECK(sum.total_weight() == 6);
  CHECK(mean_of(sum, 2) == std::vector<float>{3, -3});

  CHECK(sum.merge(accumulator(layout, {5})).error().kind == ErrorKind::permanent);
  CHECK(sum.merge(accumulator(layout_of({{"b", {2}}}), {4})).error().kind == ErrorKind::permanent);
  part.count(static_cast<std::uint32_t>(max_total_weight - 2 - 5));
  CHECK(sum.merge(part).error().kind == ErrorKind::permanent);
  CHECK(sum.total_weight() == 6);
  CHECK(mean_of(sum, 2) == std::vector<float>{3, -3});
}

TEST_CASE("accumulator: scales leave room above the base model, and a broken base is refused") {
  const Layout layout = layout_of({{"zero", {2}}, {"small", {2}}, {"large", {70'000}}, {"max", {}}});
  std::vector<float> base(layout.parameters(), 0.01F);
  base[0] = base[1] = 0.0F;
  base[70'003] = -100.0F;  // the last of "large", in its second block
  base[70'004] = 3e38F;
  CHECK(choose_scales(layout, from_memory(base)).value() == Scales{4, 4, 15, 127});
  CHECK(choose_scales(layout, zeros()).value() == Scales{4, 4, 4, 4});
  for (const float bad : {infinity, -infinity, nan_value}) {
    base[70'003] = bad;
    const auto scales = choose_scales(layout, from_memory(base));
    REQUIRE_FALSE(scales.has_value());
    CHECK(scales.error().kind == ErrorKind::corrupt);
    CHECK(scales.error().what.find("large[69999]") != std::string::npos);
  }
  CHECK(choose_scales(layout, from_memory(std::span(base).first(9))).error().kind == ErrorKind::bug);
}

}  // namespace
}  // namespace flops::tensor
