#include "flops/tensor/layout.hpp"

#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

TEST_CASE("layout: offsets, counts, text and id of a small layout are the documented ones") {
  const Layout layout = layout_of({{"fc.weight", {2, 3}}, {"fc.bias", {2}}});
  CHECK(layout.canonical() == R"([["fc.weight",[2,3]],["fc.bias",[2]]])");
  CHECK(layout.id().hex() == "5a5624957da89273fec00be21e0c275202c910c729c37830ba485398d037fd4a");
  CHECK(layout.parameters() == 8);
  CHECK(layout.bytes() == 32);
  CHECK(layout.tensors()[1].offset == 6);
  CHECK(layout.tensors()[1].count == 2);
}

TEST_CASE("layout: its text reads back to the same layout") {
  const std::vector<std::string> names{"scalar", "with \"quotes\" and \\", "größe.权重"};
  for (const std::string& name : names) {
    CAPTURE(name);
    const Layout layout = layout_of({{name, {}}, {"b", {1, 2, 3, 4, 5, 6, 7, 8}}});
    const auto again = Layout::parse(layout.canonical());
    REQUIRE(again.has_value());
    CHECK(again->tensors() == layout.tensors());
    CHECK(again->id() == layout.id());
  }
}

TEST_CASE("layout: names, shapes and their order all change the id") {
  const Layout layout = layout_of({{"a", {2, 3}}, {"b", {6}}});
  CHECK_FALSE(layout == layout_of({{"a", {3, 2}}, {"b", {6}}}));
  CHECK_FALSE(layout == layout_of({{"a", {2, 3}}, {"c", {6}}}));
  CHECK_FALSE(layout == layout_of({{"b", {6}}, {"a", {2, 3}}}));
  CHECK(layout == layout_of({{"a", {2, 3}}, {"b", {6}}}));
}

TEST_CASE("layout: what breaks a limit is refused") {
  constexpr std::int64_t huge = INT64_MAX;
  struct Row {
    const char* name;
    std::vector<TensorSpec> tensors;
    const char* says;
  };
  const std::vector<Row> rows{
      {"no tensors", {}, "1 to 4096 tensors"},
      {"too many tensors", std::vector<TensorSpec>(4097, {"a", {1}}), "1 to 4096 tensors"},
      {"an empty name", {{"", {1}}}, "1 to 256 bytes"},
      {"a long name", {{std::string(257, 'a'), {1}}}, "1 to 256 bytes"},
      {"a control character", {{"a\nb", {1}}}, "control characters"},
      {"a delete character", {{"a\x7f", {1}}}, "control characters"},
      {"a zero byte", {{std::string("a\0b", 3), {1}}}, "control characters"},
      {"not UTF-8", {{"a\xff", {1}}}, "UTF-8"},
      {"half a UTF-8 character", {{"a\xe2\x82", {1}}}, "UTF-8"},
      {"a reserved name", {{"__metadata__", {1}}}, "reserves"},
      {"a name twice", {{"a", {1}}, {"b", {1}}, {"a", {2}}}, "twice"},
      {"a dimension of zero", {{"a", {3, 0}}}, "dimension of 0"},
      {"a negative dimension", {{"a", {-1}}}, "dimension of -1"},
      {"nine dimensions", {{"a", std::vector<std::int64_t>(9, 1)}}, "9 dimensions"},
      {"a product past the limit", {{"a", {1 << 15, 1 << 15, 2}}}, "past 1073741824"},
      {"a product that overflows to zero", {{"a", {1LL << 32, 1LL << 32}}}, "past 1073741824"},
      {"a product that overflows twice", {{"a", {huge, huge, huge}}}, "past 1073741824"},
      {"a sum past the limit", {{"a", {1 << 29}}, {"b", {1 << 29}}, {"c", {}}}, "past 1073741824"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto layout = Layout::create(row.tensors);
      REQUIRE_FALSE(layout.has_value());
      CHECK(layout.error().kind == ErrorKind::permanent);
      INFO(layout.error().what);
      CHECK(layout.error().what.find(row.says) != std::string::npos);
    }
  }
}

TEST_CASE("layout: the limits themselves are allowed") {
  std::vector<TensorSpec> many;
  for (std::size_t i = 0; i < max_tensors; ++i) {
    many.push_back({"t" + std::to_string(i), {1, 1, 1, 1, 1, 1, 1, 1}, 0, 0});
  }
  CHECK(Layout::create(many).has_value());
  CHECK(Layout::create({{"a", {1 << 15, 1 << 15}, 0, 0}}).has_value());
  CHECK(Layout::create({{std::string(256, 'a'), {1}, 0, 0}}).has_value());
}

TEST_CASE("layout: a text over 1 MiB is refused when made and when read") {
  std::vector<TensorSpec> many;
  for (std::size_t i = 0; i < max_tensors; ++i) {
    std::string name = std::to_string(i);
    name.resize(max_tensor_name, 'x');
    many.push_back({name, {1}, 0, 0});
  }
  CHECK_FALSE(Layout::create(many).has_value());
  CHECK_FALSE(Layout::parse(R"([["a",[1]]])" + std::string(1U << 20U, ' ')).has_value());
}

TEST_CASE("layout: a text that is not a canonical layout is refused") {
  const std::vector<std::string> texts{
      "",
      "nonsense",
      "{}",
      "[]",
      "null",
      R"(["a"])",
      R"([["a"]])",
      R"([["a",1]])",
      R"([["a",[1],2]])",
      R"([[1,[1]]])",
      R"([["a",[1.0]]])",
      R"([["a",["1"]]])",
      R"([["a",[18446744073709551615]]])",
      R"([["a",[-1]]])",
      R"([["a",[[1]]]])",
      R"([["a",[1]],["a",[1]]])",
      R"([["a",[1]]]x)",
      R"([["a",[1]])",
      R"([["a", [1]]])",
      R"([["\u0061",[1]]])",
      std::string(100'000, '['),
  };
  for (const std::string& text : texts) {
    CAPTURE(text.substr(0, 80));
    const auto layout = Layout::parse(text);
    REQUIRE_FALSE(layout.has_value());
    CHECK(layout.error().kind == ErrorKind::permanent);
  }
}

}  // namespace
}  // namespace flops::tensor
