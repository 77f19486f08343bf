#include <cmath>
#include <limits>
#include <numeric>

#include <doctest/doctest.h>

#include "flops/manifest/manifest.hpp"
#include "flops/models/model.hpp"

using namespace flops;

TEST_CASE("zoo: a project's manifest knows these models and no others") {
  std::vector<std::string_view> names;
  for (const models::ModelInfo& info : models::zoo()) {
    names.push_back(info.name);
  }
  const auto known = manifest::builtin_models();
  CHECK(names == std::vector<std::string_view>(known.begin(), known.end()));
}

TEST_CASE("zoo: every model has the published number of parameters") {
  struct Row {
    const char* name;
    std::uint64_t parameters;
    const char* layout;
  };
  const Row rows[] = {
      {"softmax", 7'850, R"([["fc.weight",[10,784]],["fc.bias",[10]]])"},
      {"logistic-13", 14, R"([["fc.weight",[1,13]],["fc.bias",[1]]])"},
      {"2nn", 199'210,
       R"([["fc1.weight",[200,784]],["fc1.bias",[200]],["fc2.weight",[200,200]],["fc2.bias",[200]],["fc3.weight",[10,200]],["fc3.bias",[10]]])"},
      {"cnn-small", 206'922,
       R"([["conv1.weight",[16,1,3,3]],["conv1.bias",[16]],["conv2.weight",[32,16,3,3]],["conv2.bias",[32]],["fc1.weight",[128,1568]],["fc1.bias",[128]],["fc2.weight",[10,128]],["fc2.bias",[10]]])"},
      {"cnn-norm", 20'634,
       R"([["conv1.weight",[16,1,3,3]],["norm1.weight",[16]],["norm1.bias",[16]],["conv2.weight",[32,16,3,3]],["norm2.weight",[32]],["norm2.bias",[32]],["fc.weight",[10,1568]],["fc.bias",[10]],["norm1.running_mean",[16]],["norm1.running_var",[16]],["norm2.running_mean",[32]],["norm2.running_var",[32]]])"},
      {"cnn-mcmahan", 1'663'370,
       R"([["conv1.weight",[32,1,5,5]],["conv1.bias",[32]],["conv2.weight",[64,32,5,5]],["conv2.bias",[64]],["fc1.weight",[512,3136]],["fc1.bias",[512]],["fc2.weight",[10,512]],["fc2.bias",[10]]])"},
  };
  CHECK(models::zoo().size() == std::size(rows));
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto model = models::Model::create(row.name, 1);
      REQUIRE(model);
      CHECK(model->layout().parameters() == row.parameters);
      CHECK(model->layout().canonical() == row.layout);
    }
  }
}

TEST_CASE("zoo: an unknown model is refused with the names there are") {
  const auto model = models::Model::create("resnet-5000", 1);
  REQUIRE_FALSE(model);
  CHECK(model.error().kind == ErrorKind::permanent);
  CHECK(model.error().what ==
        "there is no model 'resnet-5000'; there are: 2nn, cnn-mcmahan, cnn-norm, cnn-small, logistic-13, softmax");
}

TEST_CASE("model: the seed alone decides the initial parameters") {
  const auto initial = [](std::uint64_t seed) {
    const auto model = models::Model::create("2nn", seed);
    REQUIRE(model);
    std::vector<float> flat(model->layout().parameters());
    REQUIRE(model->store(flat));
    return flat;
  };
  const auto first = initial(7);
  CHECK(initial(7) == first);
  CHECK(initial(8) != first);
  CHECK(initial(7) == first);
}

TEST_CASE("model: a flat vector goes in and comes out bit for bit") {
  for (const models::ModelInfo& info : models::zoo()) {
    CAPTURE(info.name);
    auto model = models::Model::create(info.name, 1);
    REQUIRE(model);
    std::vector<float> in(model->layout().parameters());
    for (std::size_t i = 0; i < in.size(); ++i) {
      in[i] = std::ldexp(static_cast<float>(i % 1000) - 500.0F, static_cast<int>(i % 60) - 40);
    }
    in[0] = -0.0F;
    in[1] = std::numeric_limits<float>::denorm_min();
    REQUIRE(model->load(in));
    std::vector<float> out(in.size());
    REQUIRE(model->store(out));
    CHECK(std::equal(in.begin(), in.end(), out.begin(),
                     [](float a, float b) { return a == b && std::signbit(a) == std::signbit(b); }));
  }
}

TEST_CASE("model: unusable parameters are refused") {
  auto model = models::Model::create("softmax", 1);
  REQUIRE(model);
  std::vector<float> flat(model->layout().parameters());
  SUBCASE("too few") {
    flat.pop_back();
    CHECK_FALSE(model->load(flat));
    CHECK_FALSE(model->store(flat));
  }
  SUBCASE("too many") {
    flat.push_back(0);
    const auto loaded = model->load(flat);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().what == "model 'softmax' has 7850 parameters, but 7851 were given");
  }
  SUBCASE("NaN") {
    flat[7842] = std::numeric_limits<float>::quiet_NaN();
    const auto loaded = model->load(flat);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().kind == ErrorKind::permanent);
    CHECK(loaded.error().what == "the base model is unusable: value 2 of 'fc.bias' is nan");
  }
  SUBCASE("infinite") {
    flat[0] = -std::numeric_limits<float>::infinity();
    const auto loaded = model->load(flat);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().what.find("'fc.weight' is -inf") != std::string::npos);
  }
}
