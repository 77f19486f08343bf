// Everything a hostile sender may put into an encoded vector. Memory stays within AddressSanitizer's sight throughout.
#include <algorithm>

#include <zstd.h>

#include "flops/tensor/codec.hpp"
#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

constexpr std::uint64_t small_count = 600;

std::vector<float> small_values() {
  std::vector<float> values(small_count);
  Random random(7);
  std::ranges::generate(values, [&] { return uniform(random, 1.0F, 1.001F); });
  return values;
}

// Differences of few bits: three planes are frames, one is stored.
Bytes small_blob() {
  const std::vector<float> values = small_values();
  const std::vector<float> base(small_count, 1.0F);
  Bytes bytes;
  REQUIRE(encode(Codec::lossless, small_count, from_memory(values), from_memory(base), append_to(bytes)).has_value());
  return bytes;
}

Result<std::vector<float>> decoded(const Bytes& bytes, std::uint64_t count = small_count) {
  std::vector<float> values(count);
  const std::vector<float> base(count, 1.0F);
  auto done = decode(count, bytes.size(), read_from(bytes), from_memory(base), to_memory(values));
  if (!done) {
    return fail(done.error());
  }
  return values;
}

void append_u32(Bytes& to, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) {
    to.push_back(static_cast<std::byte>(value >> 8 * i & 0xffU));
  }
}

Bytes frame_of(const Bytes& content, bool with_size = true) {
  Bytes frame(ZSTD_compressBound(content.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size ? 1 : 0);
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), content.data(), content.size()));
  ZSTD_freeCCtx(context);
  return frame;
}

// A blob of small_count values whose first plane is `frame`, said to be `length` bytes; the others are frames of zeros.
Bytes blob_with_plane(const Bytes& frame, std::uint32_t word) {
  Bytes blob = small_blob();
  blob.resize(20);
  append_u32(blob, word);
  blob.insert(blob.end(), frame.begin(), frame.end());
  const Bytes rest = frame_of(Bytes(small_count));
  for (int i = 0; i < 3; ++i) {
    append_u32(blob, static_cast<std::uint32_t>(rest.size()) | 1U << 31U);
    blob.insert(blob.end(), rest.begin(), rest.end());
  }
  return blob;
}

TEST_CASE("codec: a blob truncated at any length is refused") {
  const Bytes blob = small_blob();
  REQUIRE(decoded(blob).has_value());
  for (std::size_t size = 0; size < blob.size(); ++size) {
    const auto values = decoded(Bytes(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(size)));
    REQUIRE_FALSE(values.has_value());
    REQUIRE(values.error().kind == ErrorKind::corrupt);
  }
}

TEST_CASE("codec: a source that ends before the announced size is corrupt") {
  const Bytes blob = small_blob();
  std::vector<float> values(small_count);
  const auto half = std::span(blob).first(blob.size() / 2);
  const auto done = decode(small_count, blob.size(), read_from(half), zeros(), to_memory(values));
  CHECK(done.error().kind == ErrorKind::corrupt);
}

TEST_CASE("codec: a flipped bit anywhere gives an error or other values, never a crash") {
  const Bytes blob = small_blob();
  const std::vector<std::uint32_t> original = bits_of(small_values());
  std::size_t refused = 0;
  std::size_t unnoticed = 0;
  for (std::size_t i = 0; i < blob.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes damaged = blob;
      damaged[i] ^= std::byte{1} << bit;
      const auto values = decoded(damaged);
      refused += values ? 0U : 1U;
      unnoticed += values && bits_of(*values) == original ? 1U : 0U;
      // The header is checked completely.
      REQUIRE((i >= 20 || !values));
    }
  }
  CHECK(refused > 0);
  // A few bits of a zstd frame mean nothing, as in unused descriptor bits; the rest must show.
  CHECK(unnoticed < blob.size() / 10);
}

TEST_CASE("codec: random bytes behind a good header are refused or decoded, never a crash") {
  Random random(11);
  const Bytes good = small_blob();
  std::size_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    Bytes blob(good.begin(), good.begin() + 20);
    const std::size_t size = random() % 400;
    for (std::size_t j = 0; j < size; ++j) {
      blob.push_back(static_cast<std::byte>(random()));
    }
    refused += decoded(blob) ? 0U : 1U;
  }
  CHECK(refused == 3000);
}

TEST_CASE("codec: a header that does not fit is refused with the reason") {
  struct Row {
    const char* name;
    std::size_t position;
    std::uint8_t value;
    const char* says;
  };
  const std::vector<Row> rows{
      {"magic", 0, 'X', "magic"},
      {"version", 4, 2, "version 2"},
      {"codec", 5, 9, "codec 9"},
      {"reserved", 7, 1, "reserved"},
      {"count", 8, 0, "the layout has 600"},
      {"a huge count", 15, 0xff, "the layout has 600"},
      {"block size 0", 18, 0, "blocks of 0"},
      {"a huge block", 19, 0xff, "only 65536"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      Bytes blob = small_blob();
      blob[row.position] = static_cast<std::byte>(row.value);
      const auto values = decoded(blob);
      REQUIRE_FALSE(values.has_value());
      CHECK(values.error().kind == ErrorKind::corrupt);
      INFO(values.error().what);
      CHECK(values.error().what.find(row.says) != std::string::npos);
    }
  }
}

TEST_CASE("codec: a blob with another number of values is refused") {
  const Bytes blob = small_blob();
  for (const std::uint64_t count : {std::uint64_t{0}, small_count - 1, small_count + 1, std::uint64_t{70'000}}) {
    CAPTURE(count);
    CHECK(decoded(blob, count).error().kind == ErrorKind::corrupt);
  }
}

TEST_CASE("codec: trailing bytes are refused, and a blob above the bound before it is read") {
  Bytes blob = small_blob();
  blob.push_back(std::byte{0});
  CHECK(decoded(blob).error().what.find("1 bytes follow") != std::string::npos);

  const auto never = [](std::span<std::byte>) -> Result<> { return fail(ErrorKind::bug, "was read"); };
  std::vector<float> values(small_count);
  const std::uint64_t bound = max_encoded_bytes(Codec::lossless, small_count);
  CHECK(decode(small_count, bound + 1, never, zeros(), to_memory(values)).error().kind == ErrorKind::corrupt);
  CHECK(decode(small_count, UINT64_MAX, never, zeros(), to_memory(values)).error().kind == ErrorKind::corrupt);
  CHECK(decode(small_count, bound, never, zeros(), to_memory(values)).error().what == "was read");
}

TEST_CASE("codec: planes that lie are refused") {
  constexpr std::uint32_t flag = 1U << 31U;
  const auto framed = [](const Bytes& frame) {
    return blob_with_plane(frame, static_cast<std::uint32_t>(frame.size()) | flag);
  };
  const Bytes good = frame_of(Bytes(small_count));
  REQUIRE(decoded(framed(good)).has_value());

  Bytes two_frames = frame_of(Bytes(small_count));
  const Bytes empty_frame = frame_of({});
  two_frames.insert(two_frames.end(), empty_frame.begin(), empty_frame.end());
  Bytes with_tail = good;
  with_tail.push_back(std::byte{0});
  Bytes oversized_claim = good;
  oversized_claim[5] = std::byte{0xff};
  Bytes skippable;
  append_u32(skippable, 0x184D2A50);
  append_u32(skippable, 4);
  append_u32(skippable, 0);

  struct Row {
    const char* name;
    Bytes blob;
  };
  const std::vector<Row> rows{
      {"a bomb: a small frame of 16 MiB", framed(frame_of(Bytes(1U << 24U)))},
      {"a bomb without its size", framed(frame_of(Bytes(1U << 20U), false))},
      {"a frame of one byte too much", framed(frame_of(Bytes(small_count + 1)))},
      {"a frame of one byte too few", framed(frame_of(Bytes(small_count - 1)))},
      {"a frame that claims another size", framed(oversized_claim)},
      {"a frame without its size", framed(frame_of(Bytes(small_count), false))},
      {"two frames", framed(two_frames)},
      {"a byte behind the frame", framed(with_tail)},
      {"a skippable frame", framed(skippable)},
      {"not a frame", framed(Bytes(20, std::byte{7}))},
      {"an empty frame field", framed({})},
      {"a frame as long as the plane", blob_with_plane(Bytes(small_count), small_count | flag)},
      {"a frame of two gigabytes", blob_with_plane({}, 0x7fffffffU | flag)},
      {"stored bytes too few", blob_with_plane(Bytes(small_count - 1), small_count - 1)},
      {"stored bytes too many", blob_with_plane(Bytes(small_count + 1), small_count + 1)},
      {"two gigabytes stored", blob_with_plane({}, 0x7fffffffU)},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto values = decoded(row.blob);
      REQUIRE_FALSE(values.has_value());
      CHECK(values.error().kind == ErrorKind::corrupt);
      CHECK_FALSE(values.error().what.empty());
    }
  }
}

}  // namespace
}  // namespace flops::tensor
