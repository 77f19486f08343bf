#include "flops/tensor/safetensors.hpp"

#include <array>
#include <fstream>

#include <sys/stat.h>

#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

const std::vector<float> golden_values{1.0F, -2.0F, 0.5F, 0.0F, -0.0F, 3.25F, 1e-3F, -7.0F};

Layout golden_layout() {
  return layout_of({{"fc.weight", {2, 3}}, {"fc.bias", {2}}});
}

std::string file_with(const std::string& header, std::size_t data_bytes, std::uint64_t claimed = UINT64_MAX) {
  std::uint64_t length = claimed == UINT64_MAX ? header.size() : claimed;
  std::string file;
  for (int i = 0; i < 8; ++i, length >>= 8U) {
    file += static_cast<char>(length & 0xffU);
  }
  return file + header + std::string(data_bytes, '\0');
}

void write(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

std::string tensor(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& dtype = "F32") {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST_CASE("safetensors: a file has exactly the documented bytes") {
  const TemporaryFolder folder;
  REQUIRE(write_safetensors(folder / "m", golden_layout(), {{"format", "pt"}}, from_memory(golden_values)).has_value());
  const std::string content = read_file(folder / "m").value();
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"fc.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}   )";
  CHECK(content.substr(0, 8) == std::string("\xa0\0\0\0\0\0\0\0", 8));
  CHECK(content.substr(8, 160) == header);
  CHECK(crypto::sha256(content).hex() == "5786aef538e8174da5b591986617a06e3f0bc6af2df77394d5b034f39d8bb2ef");
  CHECK_FALSE(std::filesystem::exists(folder / "m.new"));
}

TEST_CASE("safetensors: the digest of a model is the documented one and depends on layout and values") {
  const Digest digest = model_digest(golden_layout(), from_memory(golden_values)).value();
  CHECK(digest.hex() == "08dbdf82dba14175e34b44f7c7c9a18354d4f29edc5bf49d5805794cf41831c4");
  std::vector<float> other = golden_values;
  other[4] = 0.0F;
  CHECK(model_digest(golden_layout(), from_memory(other)).value() != digest);
  const Layout renamed = layout_of({{"fc.weight", {2, 3}}, {"fc.b", {2}}});
  CHECK(model_digest(renamed, from_memory(golden_values)).value() != digest);
  CHECK(model_digest(golden_layout(), from_memory(std::span(other).first(7))).error().kind == ErrorKind::bug);
}

TEST_CASE("safetensors: what was written is read back, metadata and all bits of the values") {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> metadata{
      {"format", "pt"}, {"quotes \" and \\", "line\nfeed\ttab \x01"}, {"größe", "✓"}};
  const Layout layout = layout_of({{"a", {70'000}}, {"scalar", {}}, {"b", {3, 1, 2}}});
  std::vector<float> values(layout.parameters());
  Random random(1);
  for (float& value : values) {
    value = float_of(static_cast<std::uint32_t>(random()));
  }
  for (int round = 0; round < 2; ++round) {  // the second time over the first file
    REQUIRE(write_safetensors(folder / "m", layout, metadata, from_memory(values)).has_value());
    const auto file = open_safetensors(folder / "m");
    REQUIRE(file.has_value());
    CHECK(file->layout.tensors() == layout.tensors());
    CHECK(file->metadata == metadata);
    CHECK(file->data_offset % 8 == 0);
    std::vector<float> again(values.size());
    REQUIRE(file->values()(0, again).has_value());
    const bool same = bits_of(again) == bits_of(values);
    CHECK(same);
    values[0] = 42.0F;
  }
}

TEST_CASE("safetensors: a failed write leaves the old file and no other") {
  const TemporaryFolder folder;
  REQUIRE(write_safetensors(folder / "m", golden_layout(), {}, from_memory(golden_values)).has_value());
  const std::string before = read_file(folder / "m").value();
  const auto broken = [](std::uint64_t, std::span<float>) -> Result<> { return fail(ErrorKind::resource, "no"); };
  CHECK(write_safetensors(folder / "m", golden_layout(), {}, broken).error().kind == ErrorKind::resource);
  CHECK(write_safetensors(folder / "m", golden_layout(), {{"a", "\xff"}}, from_memory(golden_values)).error().kind ==
        ErrorKind::permanent);
  CHECK(
      write_safetensors(folder / "m", golden_layout(), {{"a", std::string(1U << 20U, 'x')}}, from_memory(golden_values))
          .error()
          .kind == ErrorKind::permanent);
  CHECK_FALSE(write_safetensors(folder / "no" / "m", golden_layout(), {}, from_memory(golden_values)).has_value());
  CHECK(read_file(folder / "m").value() == before);
  CHECK_FALSE(std::filesystem::exists(folder / "m.new"));
}

TEST_CASE("safetensors: spaces behind the header and keys in any order within a tensor are allowed") {
  const TemporaryFolder folder;
  write(folder / "m", file_with(R"({"a" : {"shape":[1], "data_offsets":[0,4], "dtype":"F32"} }     )", 4));
  const auto file = open_safetensors(folder / "m");
  REQUIRE(file.has_value());
  CHECK(file->layout.tensors()[0].name == "a");
}

TEST_CASE("safetensors: what is not a regular file is refused") {
  const TemporaryFolder folder;
  CHECK_FALSE(open_safetensors(folder / "missing").has_value());
  CHECK(open_safetensors(folder / "").error().kind == ErrorKind::corrupt);
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(open_safetensors(folder / "pipe").error().kind == ErrorKind::corrupt);
}

TEST_CASE("safetensors: a hostile file is refused with the reason") {
  const std::string a = tensor("a", "[2]", "[0,8]");
  const auto one = [](const std::string& text, std::size_t data) { return file_with("{" + text + "}", data); };
  struct Row {
    const char* name;
    std::string file;
    const char* says;
  };
  const std::vector<Row> rows{
      {"an empty file", "", "too few"},
      {"a length cut short", std::string(7, '\0'), "too few"},
      {"a header of no bytes", file_with("", 0), "does not begin"},
      {"a header longer than the file", file_with("{}", 0, 3), "the file has 2"},
      {"a header over the limit", file_with("{}", 0, (1U << 20U) + 1), "at most 1048576"},
      {"a header of 2^64-1 bytes", std::string(8, '\xff') + "{}", "at most 1048576"},
      {"a header of 2^63 bytes", file_with("{}", 0, 1ULL << 63U), "at most 1048576"},
      {"not JSON", file_with("{nonsense", 0), "not valid JSON"},
      {"JSON that ends early", file_with("{" + a, 8), "not valid JSON"},
      {"text behind the JSON", file_with("{" + a + "}{}", 8), "not valid JSON"},
      {"a list", file_with("[]", 0), "does not begin"},
      {"a space in front", file_with(" {" + a + "}", 8), "does not begin"},
      {"no tensors", file_with("{}", 0), "1 to 4096"},
      {"deep JSON", one("\"a\":" + std::string(100'000, '['), 0), "not valid JSON"},
      {"deep objects", one(R"("a":{"b":{"c":{"d":{}}}})", 0), "not valid JSON"},
      {"invalid UTF-8", one(tensor("a\xff", "[2]", "[0,8]"), 8), "not valid JSON"},
      {"a tensor that is no object", one(R"("a":[])", 0), "not an object"},
      {"a missing key", one(R"("a":{"dtype":"F32","shape":[2]})", 8), "not an object of"},
      {"another key", one(R"("a":{"dtype":"F32","shape":[2],"offsets":[0,8]})", 8), "data_offsets is missing"},
      {"one key more", one(R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})", 8), "not an object of"},
      {"dtype F16", one(tensor("a", "[2]", "[0,4]", "F16"), 4), "dtype F16"},
      {"dtype not a string", one(R"("a":{"dtype":32,"shape":[2],"data_offsets":[0,8]})", 8), "dtype"},
      {"shape not a list", one(tensor("a", "2", "[0,8]"), 8), "shape is missing or not a list"},
      {"a negative dimension", one(tensor("a", "[-2]", "[0,8]"), 8), "shape holds"},
      {"a fractional dimension", one(tensor("a", "[2.0]", "[0,8]"), 8), "shape holds"},
      {"a dimension of zero", one(tensor("a", "[0]", "[0,0]"), 0), "dimension of 0"},
      {"a dimension past 64 bits", one(tensor("a", "[99999999999999999999]", "[0,8]"), 8), "shape holds"},
      {"nine dimensions", one(tensor("a", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "9 dimensions"},
      {"a product that overflows", one(tensor("a", "[4294967296,4294967296]", "[0,0]"), 0), "past 1073741824"},
      {"too many parameters", one(tensor("a", "[1073741825]", "[0,4294967300]"), 0), "past 1073741824"},
      {"negative offsets", one(tensor("a", "[2]", "[-8,0]"), 8), "data_offsets holds"},
      {"offsets past 63 bits", one(tensor("a", "[2]", "[0,18446744073709551615]"), 8), "data_offsets holds"},
      {"one offset", one(tensor("a", "[2]", "[0]"), 8), "1 numbers"},
      {"three offsets", one(tensor("a", "[2]", "[0,8,8]"), 8), "3 numbers"},
      {"offsets backwards", one(tensor("a", "[2]", "[8,0]"), 8), "must be [0,8]"},
      {"offsets too short for the shape", one(tensor("a", "[2]", "[0,4]"), 4), "must be [0,8]"},
      {"offsets too long for the shape", one(tensor("a", "[2]", "[0,12]"), 12), "must be [0,8]"},
      {"a hole in front", one(tensor("a", "[2]", "[4,12]"), 12), "must be [0,8]"},
      {"a hole between", one(a + "," + tensor("b", "[1]", "[12,16]"), 16), "must be [8,12]"},
      {"an overlap", one(a + "," + tensor("b", "[1]", "[4,8]"), 8), "must be [8,12]"},
      {"the same place twice", one(a + "," + tensor("b", "[2]", "[0,8]"), 8), "must be [8,16]"},
      {"out of order", one(tensor("b", "[1]", "[8,12]") + "," + a, 12), "must be [0,4]"},
      {"a name twice", one(a + "," + tensor("a", "[1]", "[8,12]"), 12), "stands twice"},
      {"a name twice, once escaped", one(a + "," + tensor("\\u0061", "[1]", "[8,12]"), 12), "stands twice"},
      {"a key twice", one(R"("a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})", 8), "stands twice"},
      {"metadata twice", one(R"("__metadata__":{},"__metadata__":{},)" + a, 8), "stands twice"},
      {"an empty name", one(tensor("", "[2]", "[0,8]"), 8), "1 to 256"},
      {"a long name", one(tensor(std::string(257, 'n'), "[2]", "[0,8]"), 8), "1 to 256"},
      {"a control character", one(tensor("a\\n", "[2]", "[0,8]"), 8), "control characters"},
      {"metadata not an object", one(R"("__metadata__":[],)" + a, 8), "not an object"},
      {"metadata not text", one(R"("__metadata__":{"a":1},)" + a, 8), "not a string"},
      {"data short by one byte", one(a, 7), "the file has 7"},
      {"no data", one(a, 0), "the file has 0"},
      {"a trailing byte", one(a, 9), "the file has 9"},
      {"a gigabyte promised", one(tensor("a", "[268435456]", "[0,1073741824]"), 4), "the file has 4"},
  };
  const TemporaryFolder folder;
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      write(folder / "m", row.file);
      const auto file = open_safetensors(folder / "m");
      REQUIRE_FALSE(file.has_value());
      CHECK(file.error().kind == ErrorKind::corrupt);
      INFO(file.error().what);
      CHECK(file.error().what.find(row.says) != std::string::npos);
    }
  }
}

TEST_CASE("safetensors: a good file truncated anywhere is refused") {
  const TemporaryFolder folder;
  REQUIRE(write_safetensors(folder / "m", golden_layout(), {}, from_memory(golden_values)).has_value());
  const std::string content = read_file(folder / "m").value();
  for (std::size_t size = 0; size < content.size(); ++size) {
    write(folder / "cut", content.substr(0, size));
    const auto file = open_safetensors(folder / "cut");
    REQUIRE_FALSE(file.has_value());
    REQUIRE(file.error().kind == ErrorKind::corrupt);
  }
}

}  // namespace
}  // namespace flops::tensor
