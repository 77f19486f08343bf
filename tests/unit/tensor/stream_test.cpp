#include "flops/tensor/stream.hpp"

#include <array>
#include <fstream>

#include <fcntl.h>

#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

std::filesystem::path write_floats(const TemporaryFolder& folder, const std::string& front,
                                   std::span<const float> values) {
  std::filesystem::path file = folder / "values";
  std::ofstream out(file, std::ios::binary);
  out << front;
  for (const float value : values) {
    std::array<char, 4> bytes = std::bit_cast<std::array<char, 4>>(value);
    out.write(bytes.data(), 4);
  }
  return file;
}

TEST_CASE("stream: memory is read and written at an offset, and never beyond its end") {
  const std::vector<float> values{1, 2, 3, 4};
  std::vector<float> part(2);
  REQUIRE(from_memory(values)(1, part).has_value());
  CHECK(part == std::vector<float>{2, 3});
  CHECK(from_memory(values)(3, part).error().kind == ErrorKind::bug);
  CHECK(from_memory(values)(UINT64_MAX, part).error().kind == ErrorKind::bug);

  std::vector<float> target(3, 9.0F);
  REQUIRE(to_memory(target)(1, part).has_value());
  CHECK(target == std::vector<float>{9, 2, 3});
  CHECK(to_memory(target)(2, part).error().kind == ErrorKind::bug);
}

TEST_CASE("stream: zeros fills with zeros") {
  std::vector<float> part{1, 2};
  REQUIRE(zeros()(7, part).has_value());
  CHECK(part == std::vector<float>{0, 0});
}

TEST_CASE("stream: a file is read from its byte offset, and a short file is corrupt") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, -2, 3};
  const Fd fd(::open(write_floats(folder, "front", values).c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd.valid());
  std::vector<float> part(2);
  REQUIRE(from_file(fd.get(), 5)(1, part).has_value());
  CHECK(part == std::vector<float>{-2, 3});
  CHECK(from_file(fd.get(), 5)(2, part).error().kind == ErrorKind::corrupt);
}

TEST_CASE("stream: bytes of a file come in order and end where they are said to end") {
  const TemporaryFolder folder;
  const Fd fd(::open(write_floats(folder, "abcdef", {}).c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd.valid());
  std::array<std::byte, 2> two{};
  const ByteSource five = bytes_of_file(fd.get(), 5);
  REQUIRE(five(two).has_value());
  REQUIRE(five(two).has_value());
  CHECK(two == std::array{std::byte{'c'}, std::byte{'d'}});
  CHECK(five(two).error().kind == ErrorKind::corrupt);

  const ByteSource beyond = bytes_of_file(fd.get(), 100);
  std::array<std::byte, 7> seven{};
  CHECK(beyond(seven).error().kind == ErrorKind::corrupt);
}

}  // namespace
}  // namespace flops::tensor
