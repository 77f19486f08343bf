#include "flops/tensor/codec.hpp"

#include <algorithm>
#include <array>

#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

Bytes encoded(std::span<const float> values, const FloatSource& base) {
  Bytes bytes;
  REQUIRE(encode(Codec::lossless, values.size(), from_memory(values), base, append_to(bytes)).has_value());
  return bytes;
}

void check_round_trip(std::span<const float> values, std::span<const float> base) {
  const Bytes bytes = encoded(values, from_memory(base));
  CHECK(bytes.size() <= max_encoded_bytes(Codec::lossless, values.size()));
  std::vector<float> again(values.size(), 77.0F);
  const auto decoded = decode(values.size(), bytes.size(), read_from(bytes), from_memory(base), to_memory(again));
  REQUIRE(decoded.has_value());
  // One comparison: doctest is slow with a million checks.
  const bool same = bits_of(values) == bits_of(again);
  CHECK(same);
}

std::vector<float> random_bits(Random& random, std::size_t count) {
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return float_of(static_cast<std::uint32_t>(random())); });
  return values;
}

TEST_CASE("codec: names are read and written, unknown ones are refused") {
  CHECK(to_string(Codec::lossless) == "lossless");
  CHECK(parse_codec("lossless").value() == Codec::lossless);
  for (const char* name : {"", "Lossless", "lossless ", "fp16"}) {
    CHECK(parse_codec(name).error().kind == ErrorKind::permanent);
  }
}

TEST_CASE("codec: three values give exactly the documented bytes") {
  const std::vector<float> values{1.0F, -2.0F, 0.5F};
  const std::vector<float> base{1.0F, 0.5F, float_of(0x3f000001)};
  // Differences 0, 0x81000000, -1; zigzag 0, 0xfdffffff, 1; four stored planes.
  const std::vector<int> golden{'F', 'L', 'P', 'V', 1, 0,    0, 0,  // magic, version, codec, reserved
                                3,   0,   0,   0,   0, 0,    0, 0,  // count
                                0,   0,   1,   0,                   // block size
                                3,   0,   0,   0,   0, 0xff, 1,     // plane 0
                                3,   0,   0,   0,   0, 0xff, 0,     // plane 1
                                3,   0,   0,   0,   0, 0xff, 0,     // plane 2
                                3,   0,   0,   0,   0, 0xfd, 0};
  const Bytes bytes = encoded(values, from_memory(base));
  std::vector<int> got;
  std::ranges::transform(bytes, std::back_inserter(got), [](std::byte b) { return std::to_integer<int>(b); });
  CHECK(got == golden);
}

TEST_CASE("codec: nothing is a header alone") {
  CHECK(encoded({}, zeros()).size() == 20);
  check_round_trip({}, {});
}

TEST_CASE("codec: the round trip is bit-exact for every class of floats") {
  // Both signs of: zero, subnormals, the smallest and largest normals, ordinary numbers, infinity, quiet and signalling
  // NaN.
  std::vector<float> special;
  for (const std::uint32_t bits :
       {0x00000000U, 0x00000001U, 0x00400000U, 0x007fffffU, 0x00800000U, 0x3f7fffffU, 0x3f800000U, 0x3f800001U,
        0x7f7fffffU, 0x7f800000U, 0x7f800001U, 0x7fa12345U, 0x7fc00000U, 0x7fffffffU}) {
    special.push_back(float_of(bits));
    special.push_back(float_of(bits | 0x80000000U));
  }
  // Every class against every class as the base.
  for (std::size_t shift = 0; shift < special.size(); ++shift) {
    std::vector<float> base = special;
    std::ranges::rotate(base, base.begin() + static_cast<std::ptrdiff_t>(shift));
    check_round_trip(special, base);
  }
}

TEST_CASE("codec: the round trip is bit-exact for random bits at every size around a block") {
  Random random(1);
  constexpr std::size_t block = block_elements;
  for (const std::size_t count :
       {std::size_t{1}, std::size_t{2}, std::size_t{255}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097},
        block - 1, block, block + 1, 2 * block - 1, 2 * block, 2 * block + 1, 3 * block + 12'345}) {
    CAPTURE(count);
    check_round_trip(random_bits(random, count), random_bits(random, count));
  }
}

TEST_CASE("codec: the round trip is bit-exact for random small vectors of mixed kinds") {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    const std::size_t count = random() % 700;
    std::vector<float> base(count);
    std::vector<float> values(count);
    for (std::size_t j = 0; j < count; ++j) {
      base[j] = uniform(random, -0.1F, 0.1F);
      switch (random() % 4) {
        case 0: values[j] = base[j]; break;
        case 1: values[j] = base[j] + uniform(random, -1e-4F, 1e-4F); break;
        case 2: values[j] = -base[j]; break;
        default: values[j] = float_of(static_cast<std::uint32_t>(random())); break;
      }
    }
    check_round_trip(values, base);
  }
}

TEST_CASE("codec: the bound is exact, noise reaches it and is not made larger") {
  Random random(3);
  for (const std::uint64_t count : {std::uint64_t{1}, block_elements, block_elements + 1, 2 * block_elements}) {
    CAPTURE(count);
    const std::vector<float> noise = random_bits(random, count);
    CHECK(encoded(noise, zeros()).size() == max_encoded_bytes(Codec::lossless, count));
  }
}

TEST_CASE("codec: an update without change takes next to nothing") {
  Random random(4);
  const std::vector<float> values = random_bits(random, 3 * block_elements);
  CHECK(encoded(values, from_memory(values)).size() < 400);
}

TEST_CASE("codec: an update like that of training takes less than 0.85 of its raw size") {
  Random random(5);
  std::vector<float> base(4 * block_elements);
  std::vector<float> values(base.size());
  for (std::size_t i = 0; i < base.size(); ++i) {
    base[i] = uniform(random, -0.05F, 0.05F);
    values[i] = base[i] + uniform(random, -1e-3F, 1e-3F);
  }
  CHECK(static_cast<double>(encoded(values, from_memory(base)).size()) < 0.85 * 4.0 * static_cast<double>(base.size()));
}

TEST_CASE("codec: errors of the streams are passed on") {
  const std::vector<float> values(10, 1.0F);
  const auto broken_source = [](std::uint64_t, std::span<float>) -> Result<> {
    return fail(ErrorKind::transient, "broken");
  };
  const auto broken_sink = [](std::span<const std::byte>) -> Result<> { return fail(ErrorKind::resource, "full"); };
  const auto broken_floats = [](std::uint64_t, std::span<const float>) -> Result<> {
    return fail(ErrorKind::resource, "full");
  };
  Bytes bytes;
  const FloatSource good = from_memory(values);
  CHECK(encode(Codec::lossless, 10, broken_source, zeros(), append_to(bytes)).error().what == "broken");
  CHECK(encode(Codec::lossless, 10, good, broken_source, append_to(bytes)).error().what == "broken");
  CHECK(encode(Codec::lossless, 10, good, zeros(), broken_sink).error().kind == ErrorKind::resource);
  bytes = encoded(values, zeros());
  std::vector<float> out(10);
  CHECK(decode(10, bytes.size(), read_from(bytes), broken_source, to_memory(out)).error().what == "broken");
  CHECK(decode(10, bytes.size(), read_from(bytes), zeros(), broken_floats).error().kind == ErrorKind::resource);
}

TEST_CASE("codec: more elements than a layout may have are refused before anything is read") {
  const auto never = [](std::span<std::byte>) -> Result<> { return fail(ErrorKind::bug, "read"); };
  const auto nowhere = [](std::uint64_t, std::span<const float>) -> Result<> { return {}; };
  Bytes bytes;
  CHECK(encode(Codec::lossless, UINT64_MAX, zeros(), zeros(), append_to(bytes)).error().kind == ErrorKind::permanent);
  CHECK(bytes.empty());
  CHECK(decode(UINT64_MAX, 100, never, zeros(), nowhere).error().kind == ErrorKind::permanent);
}

}  // namespace
}  // namespace flops::tensor
