// Sums of a cluster on their way up.
#include <cmath>

#include "flops/tensor/accumulator.hpp"
#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

constexpr std::size_t parameters = 150'000;  // more than two blocks
constexpr std::size_t header = 56 + 2;       // with the scales of two tensors

Layout layout() {
  return layout_of({{"a", {1000, 100}}, {"b", {50'000}}});
}
const Scales scales{4, 7};

Accumulator empty() {
  auto created = Accumulator::create(layout(), scales);
  REQUIRE(created.has_value());
  return *std::move(created);
}

void add(Accumulator& sum, std::uint64_t seed, std::uint32_t weight) {
  Random random(seed);
  std::vector<float> values(parameters);
  for (float& value : values) {
    value = uniform(random, -0.5F, 0.5F);
  }
  REQUIRE(sum.add(0, values, weight).has_value());
  sum.count(weight);
}

Bytes bytes_of(const Accumulator& sum) {
  Bytes bytes;
  const auto written = sum.write(append_to(bytes));
  REQUIRE_MESSAGE(written.has_value(), written.error().what);
  return bytes;
}

Result<Accumulator> read(const Bytes& bytes) {
  return Accumulator::read(layout(), scales, bytes.size(), read_from(bytes));
}

std::vector<std::uint32_t> mean_of(const Accumulator& sum) {
  std::vector<float> mean(parameters);
  REQUIRE(sum.mean(to_memory(mean)).has_value());
  return bits_of(mean);
}

// A sum of one parameter whose limbs stand in the bytes: twelve stored planes of one byte each.
Bytes tiny(std::uint64_t weight, const std::vector<unsigned>& zigzag) {
  auto sum = Accumulator::create(layout_of({{"x", {}}}), {4});
  REQUIRE(sum.has_value());
  sum->count(1);
  Bytes bytes;
  REQUIRE(sum->write(append_to(bytes)).has_value());
  REQUIRE(bytes.size() == 57 + 12 * 5);
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[40 + i] = static_cast<std::byte>(weight >> 8 * i & 0xffU);
  }
  for (std::size_t i = 0; i < 12; ++i) {
    bytes[57 + i * 5 + 4] = static_cast<std::byte>(zigzag[i]);
  }
  return bytes;
}

Result<Accumulator> read_tiny(const Bytes& bytes) {
  return Accumulator::read(layout_of({{"x", {}}}), {4}, bytes.size(), read_from(bytes));
}

}  // namespace

TEST_CASE("partial sum: what is written comes back, and is written the same again") {
  Accumulator sum = empty();
  add(sum, 1, 100);
  add(sum, 2, 12'345);
  const Bytes bytes = bytes_of(sum);
  CHECK(bytes.size() <= max_partial_sum_bytes(layout()));
  const auto again = read(bytes);
  REQUIRE_MESSAGE(again.has_value(), again.error().what);
  CHECK(again->total_weight() == 12'445);
  CHECK(again->scales() == scales);
  CHECK(mean_of(*again) == mean_of(sum));
  CHECK(bytes_of(*again) == bytes);
}

TEST_CASE("partial sum: clusters' sums, sent and merged, have the bytes of one sum of all devices") {
  Accumulator whole = empty();
  std::vector<Accumulator> clusters(3, empty());
  for (std::uint64_t device = 0; device < 7; ++device) {
    const auto weight = static_cast<std::uint32_t>(1 + 37 * device);
    add(whole, device, weight);
    add(clusters[device % 3], device, weight);
  }
  Accumulator merged = empty();
  for (const std::size_t cluster : {2U, 0U, 1U}) {
    const auto received = read(bytes_of(clusters[cluster]));
    REQUIRE(received.has_value());
    REQUIRE(merged.merge(*received).has_value());
  }
  CHECK(merged.total_weight() == whole.total_weight());
  CHECK(bytes_of(merged) == bytes_of(whole));
  CHECK(mean_of(merged) == mean_of(whole));
}

TEST_CASE("partial sum: multiplied, it is the sum with all weights so many times as large") {
  Accumulator sum = empty();
  add(sum, 1, 100);
  add(sum, 2, 12'345);
  Accumulator larger = empty();
  add(larger, 1, 1600);
  add(larger, 2, 16 * 12'345);
  Accumulator received = read(bytes_of(sum)).value();
  REQUIRE(received.multiply(16).has_value());
  CHECK(received.total_weight() == 16 * 12'445);
  CHECK(bytes_of(received) == bytes_of(larger));
  const auto before = bytes_of(sum);
  for (const std::uint64_t factor : {std::uint64_t{0}, max_total_weight / 12'445 + 1, std::uint64_t{1} << 32U}) {
    const auto refused = sum.multiply(factor);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::permanent);
  }
  CHECK_FALSE(empty().multiply(std::uint64_t{1} << 32U).has_value());
  REQUIRE(sum.multiply(1).has_value());
  CHECK(bytes_of(sum) == before);
}

TEST_CASE("partial sum: the largest values there are, of both signs, with the largest weight") {
  const Layout one = layout_of({{"x", {3}}});
  auto sum = Accumulator::create(one, {4});
  REQUIRE(sum.has_value());
  const float largest = std::nextafter(16.0F, 0.0F);
  const std::vector<float> values{largest, -largest, 0.0F};
  REQUIRE(sum->add(0, values, static_cast<std::uint32_t>(max_total_weight)).has_value());
  sum->count(static_cast<std::uint32_t>(max_total_weight));
  Bytes bytes;
  REQUIRE(sum->write(append_to(bytes)).has_value());
  const auto again = Accumulator::read(one, {4}, bytes.size(), read_from(bytes));
  REQUIRE_MESSAGE(again.has_value(), again.error().what);
  std::vector<float> mean(3);
  REQUIRE(again->mean(to_memory(mean)).has_value());
  CHECK(mean == values);
}

TEST_CASE("partial sum: nothing counted is not written") {
  Bytes bytes;
  const auto refused = empty().write(append_to(bytes));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::permanent);
  CHECK(bytes.empty());
}

TEST_CASE("partial sum: a full disk is passed on") {
  Accumulator sum = empty();
  add(sum, 1, 1);
  int calls = 0;
  const auto refused = sum.write([&](std::span<const std::byte>) -> Result<> {
    return ++calls < 3 ? Result<>() : fail(ErrorKind::resource, "full");
  });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::resource);
}

TEST_CASE("partial sum: every damage to the header is named") {
  Accumulator sum = empty();
  add(sum, 1, 100);
  const Bytes good = bytes_of(sum);
  struct Row {
    const char* name;
    std::size_t at;
    unsigned value;
    const char* says;
  };
  const Row rows[] = {
      {"magic", 0, 'X', "magic"},
      {"version", 4, 2, "version 2"},
      {"reserved", 6, 1, "reserved"},
      {"layout id", 20, 0x5a, "another layout"},
      {"no weight", 40, 0, "total weight of 0"},
      {"a weight of 2^31 and more", 43, 0x80, "total weight"},
      {"a weight of 2^56 and more", 47, 1, "total weight"},
      {"tensors", 48, 3, "another layout"},
      {"block size", 52, 1, "blocks of"},
      {"a scale", 57, 8, "other scales"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Bytes bytes = good;
    REQUIRE(bytes[row.at] != static_cast<std::byte>(row.value));
    bytes[row.at] = static_cast<std::byte>(row.value);
    const auto refused = read(bytes);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::corrupt);
    CHECK_MESSAGE(refused.error().what.find(row.says) != std::string::npos, refused.error().what);
  }
  CHECK_FALSE(Accumulator::read(layout(), {4, 8}, good.size(), read_from(good)).has_value());
  CHECK_FALSE(Accumulator::read(layout_of({{"a", {1000, 100}}, {"c", {50'000}}}), scales, good.size(), read_from(good))
                  .has_value());
}

TEST_CASE("partial sum: truncated anywhere, or longer, it is refused") {
  Accumulator sum = empty();
  add(sum, 1, 100);
  const Bytes good = bytes_of(sum);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, header - 1, header, header + 3, good.size() / 2, good.size() - 1}) {
    CAPTURE(size);
    const auto refused = read(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::corrupt);
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  const auto refused = read(longer);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().what.find("follow the last block") != std::string::npos);
}

TEST_CASE("partial sum: a size beyond the bound is refused before anything is read") {
  int calls = 0;
  const auto refused =
      Accumulator::read(layout(), scales, max_partial_sum_bytes(layout()) + 1, [&](std::span<std::byte>) -> Result<> {
        ++calls;
        return {};
      });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::corrupt);
  CHECK(calls == 0);
}

TEST_CASE("partial sum: damaged planes are refused or change the sum, and never crash") {
  Accumulator sum = empty();
  add(sum, 1, 100);
  const Bytes good = bytes_of(sum);
  const auto mean = mean_of(sum);
  Random random(8);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    Bytes bytes = good;
    const std::size_t at = header + random() % (bytes.size() - header);
    bytes[at] ^= static_cast<std::byte>(1U << random() % 8);
    const auto damaged = read(bytes);
    if (!damaged) {
      ++refused;
      CHECK(damaged.error().kind == ErrorKind::corrupt);
    } else {
      CHECK(bytes_of(*damaged) != good);
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("partial sum: sums that no values in range give with the weight are refused") {
  // (2^63 - 1) * w is the most; zigzag codes n as 2n and -n as 2n - 1.
  const std::vector<unsigned> most{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
  std::vector<unsigned> least = most;
  least[0] = 0xfd;
  std::vector<unsigned> one_more{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
  std::vector<unsigned> one_less = most;
  one_less[0] = 0xff;
  const std::vector<unsigned> all_ones(12, 0xff);
  CHECK(read_tiny(tiny(1, most)).has_value());
  CHECK(read_tiny(tiny(1, least)).has_value());
  CHECK(read_tiny(tiny(2, one_more)).has_value());
  for (const auto& zigzag : {one_more, one_less, all_ones}) {
    const auto refused = read_tiny(tiny(1, zigzag));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::corrupt);
    CHECK(refused.error().what.find("total weight of 1 allows") != std::string::npos);
  }
  CHECK_FALSE(read_tiny(tiny(max_total_weight, all_ones)).has_value());
}

TEST_CASE("partial sum: the bytes are those of the documentation") {
  const Layout one = layout_of({{"x", {2}}});
  auto sum = Accumulator::create(one, {4});
  REQUIRE(sum.has_value());
  const std::vector<float> values{1.0F, -0.5F};
  REQUIRE(sum->add(0, values, 3).has_value());
  sum->count(3);
  Bytes bytes;
  REQUIRE(sum->write(append_to(bytes)).has_value());
  REQUIRE(bytes.size() == 57 + 12 * 6);
  // 3 * 2^59 and -3 * 2^58 on the grid 2^-59: zigzag 3 * 2^60 and 3 * 2^59 - 1.
  const std::vector<std::vector<unsigned>> planes{{0x00, 0xff}, {0x00, 0xff}, {0x00, 0xff}, {0x00, 0xff},
                                                  {0x00, 0xff}, {0x00, 0xff}, {0x00, 0xff}, {0x30, 0x17},
                                                  {0x00, 0x00}, {0x00, 0x00}, {0x00, 0x00}, {0x00, 0x00}};
  for (std::size_t k = 0; k < 12; ++k) {
    CAPTURE(k);
    const std::size_t at = 57 + 6 * k;
    CHECK(bytes[at] == std::byte{2});
    CHECK(bytes[at + 3] == std::byte{0});
    CHECK(bytes[at + 4] == static_cast<std::byte>(planes[k][0]));
    CHECK(bytes[at + 5] == static_cast<std::byte>(planes[k][1]));
  }
}

}  // namespace flops::tensor
