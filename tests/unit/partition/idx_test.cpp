#include "flops/partition/idx.hpp"

#include <array>
#include <fstream>
#include <span>
#include <vector>

#include <doctest/doctest.h>
#include <zlib.h>

#include "flops/test/temporary_folder.hpp"

namespace flops::partition {
namespace {

std::string header(const std::vector<std::uint32_t>& dimensions, char type = 0x08) {
  std::string out{'\0', '\0', type, static_cast<char>(dimensions.size())};
  for (const std::uint32_t size : dimensions) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
      out += static_cast<char>((size >> shift) & 0xFFU);
    }
  }
  return out;
}

std::span<const std::byte> bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(::deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::vector<unsigned char> input(text.begin(), text.end());
  std::vector<unsigned char> output(text.size() + 1024);
  stream.next_in = input.data();
  stream.avail_in = static_cast<unsigned>(input.size());
  stream.next_out = output.data();
  stream.avail_out = static_cast<unsigned>(output.size());
  REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  std::string result(output.begin(), output.begin() + static_cast<std::ptrdiff_t>(stream.total_out));
  REQUIRE(::deflateEnd(&stream) == Z_OK);
  return result;
}

void write(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

TEST_CASE("idx: what is encoded is read back") {
  const IdxArray array{{3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}};
  const std::array<std::uint32_t, 3> all{0, 1, 2};
  const auto parsed = parse_idx(bytes(encode_idx(array, all)), "test");
  REQUIRE(parsed);
  CHECK(*parsed == array);
  CHECK(array.samples() == 3);
  CHECK(array.sample_bytes() == 4);

  const std::array<std::uint32_t, 2> some{2, 0};
  const auto part = parse_idx(bytes(encode_idx(array, some)), "test");
  REQUIRE(part);
  CHECK(part->dimensions == std::vector<std::uint32_t>{2, 2, 2});
  CHECK(part->values == std::vector<std::uint8_t>{9, 10, 11, 255, 1, 2, 3, 4});
}

TEST_CASE("idx: malformed input is refused with what is wrong") {
  struct Row {
    const char* name;
    std::string input;
    const char* message;
  };
  const std::vector<Row> rows{
      {"nothing", "", "header is cut off"},
      {"cut in the magic", std::string(3, '\0'), "header is cut off"},
      {"cut in the dimensions", header({2, 2, 2}).substr(0, 10), "header is cut off"},
      {"text", "hello, this is no IDX file", "not an IDX file"},
      {"floats", header({1}, 0x0D) + "abcd", "type 0x0d"},
      {"no dimensions", header({}), "0 dimensions"},
      {"too many dimensions", header({1, 1, 1, 1, 1}) + "a", "5 dimensions"},
      {"no samples", header({0, 28, 28}), "without elements"},
      {"no pixels", header({5, 0, 28}), "without elements"},
      {"more than the limit", header({100, 100}), "more than 1000 bytes"},
      {"product overflows 64 bits", header({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}), "more than 1000 bytes"},
      {"one byte too few", header({2, 2}) + "abc", "3 of 4 bytes"},
      {"one byte too many", header({2, 2}) + "abcde", "more bytes than the 4"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto parsed = parse_idx(bytes(row.input), "labels.idx", 1000);
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error().kind == ErrorKind::corrupt);
      CHECK(parsed.error().what.find(row.message) != std::string::npos);
      CHECK(parsed.error().what.find("labels.idx") != std::string::npos);
    }
  }
}

TEST_CASE("idx: plain and gzip files read the same") {
  const test::TemporaryFolder folder;
  const std::string content = header({4}) + std::string("\x00\x01\x02\x03", 4);
  write(folder.path() / "plain", content);
  write(folder.path() / "packed.gz", gzip(content));
  const auto plain = load_idx(folder.path() / "plain");
  const auto packed = load_idx(folder.path() / "packed.gz");
  REQUIRE(plain);
  REQUIRE(packed);
  CHECK(*plain == *packed);
  CHECK(plain->values == std::vector<std::uint8_t>{0, 1, 2, 3});
}

TEST_CASE("idx: damaged and hostile gzip files are refused") {
  const test::TemporaryFolder folder;
  const std::string content = header({100'000}) + std::string(100'000, 'x');
  const std::string packed = gzip(content);
  std::string flipped = packed;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x55);
  struct Row {
    const char* name;
    std::string content;
  };
  const std::vector<Row> rows{
      {"cut off", packed.substr(0, packed.size() / 2)},
      {"a byte changed", flipped},
      {"a bomb: far more than its header says", gzip(header({10}) + std::string(5'000'000, 'x'))},
      {"a header that claims gigabytes", gzip(header({4'000'000'000U, 100}) + "x")},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto file = folder.path() / "labels.gz";
      write(file, row.content);
      const auto loaded = load_idx(file);
      REQUIRE_FALSE(loaded);
      CHECK(loaded.error().kind == ErrorKind::corrupt);
      CHECK(loaded.error().what.find(file.string()) != std::string::npos);
    }
  }
}

TEST_CASE("idx: a file that is not there is named") {
  const auto loaded = load_idx("/nonexistent/labels.gz");
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().kind == ErrorKind::permanent);
  CHECK(loaded.error().what.find("/nonexistent/labels.gz") != std::string::npos);
}

}  // namespace
}  // namespace flops::partition
