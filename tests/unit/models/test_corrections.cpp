// What algorithms change on the device: a number of steps, FedProx's pull, SCAFFOLD's control variates.
#include <cmath>
#include <future>
#include <limits>

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace flops;
using namespace flops::test;

namespace {

models::Model make(const char* name) {
  auto model = models::Model::create(name, 1);
  REQUIRE(model);
  return std::move(*model);
}

std::vector<float> trained(const char* name, const models::Split& split, const models::TrainingPlan& plan) {
  models::Model model = make(name);
  REQUIRE(models::train(model, split, plan, 5, go_on));
  return parameters_of(model);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  }
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("steps: as many as an epoch has batches are an epoch, and more go on into the next") {
  const auto split = digits(50, 1);
  models::TrainingPlan epochs{.epochs = 2, .batch = 20};
  models::TrainingPlan steps{.batch = 20, .steps = 6};
  CHECK(trained("softmax", split, epochs) == trained("softmax", split, steps));
  steps.steps = 4;
  models::Model model = make("softmax");
  const auto outcome = models::train(model, split, steps, 5, go_on);
  REQUIRE(outcome);
  CHECK(outcome->steps == 4);
  CHECK(outcome->loss > 0);
  CHECK(outcome->loss < 5);  // a mean over the 20 samples of the second epoch that were seen
}

TEST_CASE("proximal: the larger it is, the closer to its base a device stays") {
  const auto split = digits(100, 1);
  models::TrainingPlan plan{.epochs = 5, .batch = 10};
  const auto base = parameters_of(make("2nn"));
  const double free = distance(trained("2nn", split, plan), base);
  plan.proximal = 1;
  const double pulled = distance(trained("2nn", split, plan), base);
  plan.proximal = 10;
  const double held = distance(trained("2nn", split, plan), base);
  CHECK(pulled < 0.9 * free);
  CHECK(held < 0.5 * pulled);
}

TEST_CASE("proximal: the step is that of the formula") {
  // With full batches the first step has no pull; the second is w - rate * (gradient + mu * (w - base)).
  const auto split = digits(40, 1);
  models::TrainingPlan plan{.batch = 40, .steps = 1};
  const auto base = parameters_of(make("softmax"));
  const auto first = trained("softmax", split, plan);
  plan.steps = 2;
  const auto plain = trained("softmax", split, plan);
  plan.proximal = 0.5;
  const auto pulled = trained("softmax", split, plan);
  for (std::size_t i = 0; i < base.size(); i += 97) {
    const double expected = plain[i] - plan.learning_rate * plan.proximal * (double{first[i]} - base[i]);
    CHECK(pulled[i] == doctest::Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("control variates: equal ones change nothing, and the device's new one is its mean gradient") {
  const auto split = digits(60, 1);
  const models::TrainingPlan plan{.epochs = 1, .batch = 20};
  const auto base = parameters_of(make("softmax"));
  const auto plain = trained("softmax", split, plan);
  const std::vector<float> server(base.size(), 0.01F);
  std::vector<float> own = server;
  models::Model model = make("softmax");
  REQUIRE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  const auto now = parameters_of(model);
  CHECK(now == plain);
  for (std::size_t i = 0; i < base.size(); i += 97) {
    const double expected = (double{base[i]} - now[i]) / (3 * plan.learning_rate);
    CHECK(own[i] == doctest::Approx(expected).epsilon(1e-4));
  }
}

TEST_CASE("control variates: their difference is added to every step") {
  const auto split = digits(40, 1);
  const models::TrainingPlan plan{.batch = 40, .steps = 1};
  const auto plain = trained("softmax", split, plan);
  const std::vector<float> server(plain.size(), 0.5F);
  std::vector<float> own(plain.size(), 0.2F);
  models::Model model = make("softmax");
  REQUIRE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  const auto drifted = parameters_of(model);
  for (std::size_t i = 0; i < plain.size(); i += 97) {
    CHECK(drifted[i] == doctest::Approx(plain[i] - plan.learning_rate * 0.3).epsilon(1e-4));
  }
}

TEST_CASE("control variates: buffers have none, and those that do not fit are refused") {
  const auto split = digits(40, 1);
  models::TrainingPlan plan{.batch = 20};
  models::Model model = make("cnn-norm");
  const std::vector<float> server(model.layout().parameters());
  std::vector<float> own(model.layout().parameters());
  REQUIRE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  const auto& running_mean = model.layout().tensors()[8];
  REQUIRE(running_mean.name == "norm1.running_mean");
  CHECK(own[running_mean.offset] == 0);
  CHECK(own[0] != 0);
  SUBCASE("length") {
    own.pop_back();
    CHECK_FALSE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  }
  SUBCASE("not finite") {
    own[7] = std::numeric_limits<float>::infinity();
    CHECK_FALSE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  }
  SUBCASE("momentum") {
    plan.momentum = 0.9;
    CHECK_FALSE(models::train(model, split, plan, 5, go_on, {}, {server, own}));
  }
}

TEST_CASE("training: models trained at the same time in different threads get the bytes they get alone") {
  const auto split = digits(200, 1);
  const models::TrainingPlan plan{.epochs = 2, .batch = 16, .optimizer = "adam", .learning_rate = 0.002};
  const auto alone = trained("cnn-norm", split, plan);  // draws for dropout
  std::vector<std::future<std::vector<float>>> together;
  for (int n = 0; n < 4; ++n) {
    together.push_back(std::async(std::launch::async, [&] { return trained("cnn-norm", split, plan); }));
  }
  for (auto& one : together) {
    CHECK(one.get() == alone);
  }
}
