#include "flops/tensor/control_variates.hpp"

#include <cmath>

#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

TEST_CASE("control variates: every tensor has one of its shape, behind the whole model") {
  const Layout model = layout_of({{"fc.weight", {2, 3}}, {"fc.bias", {2}}, {"scale", {}}});
  const auto travelling = with_variates(model);
  REQUIRE(travelling.has_value());
  CHECK(travelling->canonical() ==
        R"([["fc.weight",[2,3]],["fc.bias",[2]],["scale",[]],)"
        R"(["scaffold.c/fc.weight",[2,3]],["scaffold.c/fc.bias",[2]],["scaffold.c/scale",[]]])");
  CHECK(travelling->parameters() == 2 * model.parameters());
  CHECK(travelling->tensors()[3].offset == model.parameters());
  const auto back = without_variates(*travelling);
  REQUIRE(back.has_value());
  CHECK(*back == model);
}

TEST_CASE("control variates: a model that is too large for them is refused") {
  std::vector<TensorSpec> tensors(max_tensors / 2);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    tensors[i] = {fmt::format("t{}", i), {1}, 0, 0};
  }
  CHECK(with_variates(*Layout::create(tensors)).has_value());
  tensors.push_back({"one-more", {1}, 0, 0});
  CHECK(with_variates(*Layout::create(tensors)).error().kind == ErrorKind::permanent);
  CHECK_FALSE(with_variates(layout_of({{"w", {(1LL << 29U) + 1}}})).has_value());
  CHECK_FALSE(with_variates(layout_of({{std::string(max_tensor_name, 'n'), {1}}})).has_value());
}

TEST_CASE(
    "control variates: a layout that is not a model with a variate for each tensor is refused with what is wrong") {
  struct Row {
    const char* name;
    Layout layout;
    const char* reason;
  };
  const Row rows[] = {
      {"no second half", layout_of({{"w", {2}}, {"b", {2}}}), "'b' stands where the control variate 'scaffold.c/w'"},
      {"one tensor alone", layout_of({{"w", {2}}}), "1 tensors are no model"},
      {"half of the second half", layout_of({{"w", {2}}, {"b", {2}}, {"scaffold.c/w", {2}}}), "3 tensors are no model"},
      {"another order", layout_of({{"w", {2}}, {"b", {2}}, {"scaffold.c/b", {2}}, {"scaffold.c/w", {2}}}),
       "'scaffold.c/b' stands where"},
      {"another name", layout_of({{"w", {2}}, {"scaffold.d/w", {2}}}), "'scaffold.d/w' stands where"},
      {"the prefix alone", layout_of({{"w", {2}}, {"scaffold.c/", {2}}}), "'scaffold.c/' stands where"},
      {"another shape", layout_of({{"w", {2, 3}}, {"scaffold.c/w", {3, 2}}}), "'scaffold.c/w' has another shape"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto refused = without_variates(row.layout);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == ErrorKind::permanent);
    CHECK_MESSAGE(refused.error().what.find(row.reason) != std::string::npos, refused.error().what);
  }
}

TEST_CASE("control variates: what is sent is c with the change of the device's own, rounded once") {
  const std::vector<float> server{1.0F, 0.0F, 1e-8F, -2.0F};
  const std::vector<float> before{0.5F, 1.0F, 1.0F, 0.0F};
  const std::vector<float> after{0.25F, 1.0F, 1.0F + std::ldexp(1.0F, -23), 3.0F};
  std::vector<float> sent(4);
  variate_to_return(server, before, after, sent);
  CHECK(sent[0] == 0.75F);
  CHECK(sent[1] == 0.0F);
  CHECK(sent[2] == static_cast<float>(double{1e-8F} + std::ldexp(1.0, -23)));
  CHECK(sent[3] == 1.0F);
}

}  // namespace
}  // namespace flops::tensor
