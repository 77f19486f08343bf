#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace flops;
using namespace flops::test;

namespace {

std::vector<float> trained(const char* name, const models::Split& split, const models::TrainingPlan& plan,
                           std::uint64_t seed) {
  auto model = models::Model::create(name, 1);
  REQUIRE(model);
  REQUIRE(models::train(*model, split, plan, seed, go_on));
  return parameters_of(*model);
}

}  // namespace

TEST_CASE("shuffle: an epoch visits every sample once, in an order that its arguments fix on every platform") {
  CHECK(models::shuffled(10, 1, 0) == models::shuffled(10, 1, 0));
  CHECK(models::shuffled(100, 1, 0) != models::shuffled(100, 1, 1));
  CHECK(models::shuffled(100, 1, 0) != models::shuffled(100, 2, 0));
  CHECK(models::shuffled(1, 1, 0) == std::vector<std::uint32_t>{0});
  CHECK(models::shuffled(0, 1, 0).empty());
  auto order = models::shuffled(1000, 3, 4);
  std::sort(order.begin(), order.end());
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    REQUIRE(order[i] == i);
  }
}

TEST_CASE("shuffle: every place is equally likely for every sample") {
  std::map<std::uint32_t, int> first;
  for (std::uint64_t epoch = 0; epoch < 8000; ++epoch) {
    ++first[models::shuffled(8, 42, epoch)[0]];
  }
  for (std::uint32_t sample = 0; sample < 8; ++sample) {
    CHECK(first[sample] > 850);  // 1000 expected, standard deviation 30
    CHECK(first[sample] < 1150);
  }
}

TEST_CASE("training: the loss falls and unseen samples are recognised, with every optimizer and loss") {
  struct Row {
    const char* name;
    const char* model;
    models::TrainingPlan plan;
  };
  const Row rows[] = {
      {"softmax, sgd", "softmax", {4, 16, "sgd", 0.05, 0, 0, "cross_entropy"}},
      {"2nn, sgd with momentum and decay", "2nn", {4, 16, "sgd", 0.02, 0.9, 1e-4, "cross_entropy"}},
      {"cnn-small, adam", "cnn-small", {3, 16, "adam", 0.001, 0, 1e-4, "cross_entropy"}},
      {"2nn, mean squared error", "2nn", {6, 16, "sgd", 0.1, 0.9, 0, "mse"}},
  };
  const auto train_split = digits(400, 1);
  const auto test_split = digits(100, 2);
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      auto model = models::Model::create(row.model, 1);
      REQUIRE(model);
      const auto before = models::evaluate(*model, test_split, row.plan.loss, 64, go_on);
      const auto outcome = models::train(*model, train_split, row.plan, 5, go_on);
      const auto after = models::evaluate(*model, test_split, row.plan.loss, 64, go_on);
      REQUIRE(before);
      REQUIRE(outcome);
      REQUIRE(after);
      CHECK(outcome->samples == 400);
      CHECK(after->samples == 100);
      CHECK(after->loss < before->loss);
      CHECK(outcome->loss < before->loss);
      CHECK(after->accuracy >= 0.95);
    }
  }
}

TEST_CASE("training: the same job gives the same bytes, whatever ran before") {
  const auto split = digits(150, 1);
  const models::TrainingPlan plan{2, 32, "sgd", 0.05, 0.9, 1e-4, "cross_entropy"};
  const auto first = trained("cnn-small", split, plan, 9);
  (void)trained("2nn", split, {1, 7, "adam", 0.001, 0, 0, "mse"}, 3);
  CHECK(trained("cnn-small", split, plan, 9) == first);
  CHECK(trained("cnn-small", split, plan, 10) != first);
}

TEST_CASE("evaluation: the result does not depend on the batch size, beyond rounding") {
  const auto split = digits(103, 1);
  auto model = models::Model::create("softmax", 1);
  REQUIRE(model);
  const auto one = models::evaluate(*model, split, "cross_entropy", 1, go_on);
  const auto many = models::evaluate(*model, split, "cross_entropy", 1000, go_on);
  REQUIRE(one);
  REQUIRE(many);
  CHECK(one->accuracy == many->accuracy);
  CHECK(one->loss == doctest::Approx(many->loss).epsilon(1e-5));
}

TEST_CASE("training: one that diverges is an error that says so") {
  const auto split = digits(100, 1);
  auto model = models::Model::create("2nn", 1);
  REQUIRE(model);
  const auto outcome = models::train(*model, split, {50, 10, "sgd", 1000, 0.9, 0, "mse"}, 1, go_on);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::permanent);
  CHECK_MESSAGE(outcome.error().what.find("training diverged: the loss is") == 0, outcome.error().what);
}

TEST_CASE("training: a last step that diverges is seen when the parameters are stored") {
  const auto split = digits(10, 1);
  auto model = models::Model::create("softmax", 1);
  REQUIRE(model);
  std::vector<float> huge(model->layout().parameters(), std::numeric_limits<float>::max() / 1e4F);
  REQUIRE(model->load(huge));
  // One batch: its loss is finite (all classes alike), its weight decay of 1000 * 1000 is not.
  REQUIRE(models::train(*model, split, {1, 10, "sgd", 1000, 0, 1000, "cross_entropy"}, 1, go_on));
  const auto stored = model->store(huge);
  REQUIRE_FALSE(stored);
  CHECK(stored.error().kind == ErrorKind::permanent);
  CHECK(stored.error().what.find("training diverged: value 0 of 'fc.weight'") == 0);
}

TEST_CASE("training: it is reported before every batch and once at the end, and ends when told so") {
  const auto split = digits(50, 1);
  auto model = models::Model::create("softmax", 1);
  REQUIRE(model);
  std::vector<std::uint64_t> seen;
  const auto outcome = models::train(*model, split, {2, 20, "sgd", 0.05, 0, 0, "cross_entropy"}, 1,
                                     [&](std::uint64_t done, std::uint64_t total, const auto&) -> Result<> {
                                       CHECK(total == 6);
                                       seen.push_back(done);
                                       return {};
                                     });
  REQUIRE(outcome);
  CHECK(seen == std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6});

  const auto stopped = models::train(*model, split, {2, 20, "sgd", 0.05, 0, 0, "cross_entropy"}, 1,
                                     [](std::uint64_t done, std::uint64_t, const auto&) -> Result<> {
                                       return done == 3 ? fail(ErrorKind::cancelled, "enough") : Result<>();
                                     });
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().kind == ErrorKind::cancelled);
}

TEST_CASE("training: a plan or data that do not fit are refused") {
  auto split = digits(20, 1);
  models::TrainingPlan plan;
  std::string reason;
  SUBCASE("optimizer") {
    plan.optimizer = "lion";
    reason = "no optimizer 'lion'";
  }
  SUBCASE("loss") {
    plan.loss = "hinge";
    reason = "no loss 'hinge'";
  }
  SUBCASE("epochs") {
    plan.epochs = 0;
    reason = "epochs is 0";
  }
  SUBCASE("batch") {
    plan.batch = 65'537;
    reason = "batch is 65537";
  }
  SUBCASE("learning rate") {
    plan.learning_rate = -0.1;
    reason = "learning_rate is -0.1";
  }
  SUBCASE("learning rate is no number") {
    plan.learning_rate = std::nan("");
    reason = "learning_rate is nan";
  }
  SUBCASE("momentum") {
    plan.momentum = 1.5;
    reason = "momentum is 1.5";
  }
  SUBCASE("momentum for adam") {
    plan.optimizer = "adam";
    plan.momentum = 0.9;
    reason = "momentum is for sgd";
  }
  SUBCASE("weight decay") {
    plan.weight_decay = INFINITY;
    reason = "weight_decay is inf";
  }
  SUBCASE("steps") {
    plan.steps = -1;
    reason = "steps is -1";
  }
  SUBCASE("proximal") {
    plan.proximal = -0.5;
    reason = "proximal is -0.5";
  }
  SUBCASE("label range") {
    split.labels[3] = 10;
    reason = "label 10 of sample 3";
  }
  SUBCASE("image size") {
    split.rows = 14;
    split.columns = 56;
    reason = "samples of 14x56";
  }
  SUBCASE("no samples") {
    split = {};
    reason = "no samples";
  }
  auto model = models::Model::create("softmax", 1);
  REQUIRE(model);
  const auto outcome = models::train(*model, split, plan, 1, go_on);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::permanent);
  CHECK_MESSAGE(outcome.error().what.find(reason) != std::string::npos, outcome.error().what);
}
