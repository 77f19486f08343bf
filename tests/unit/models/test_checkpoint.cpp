#include <cstring>
#include <optional>

#include <doctest/doctest.h>

#include "flops/models/training.hpp"
#include "flops/test/digits.hpp"

using namespace flops;
using namespace flops::test;

namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t seed = 7;
constexpr models::TrainingPlan momentum_plan{3, 16, "sgd", 0.02, 0.9, 1e-4, "cross_entropy"};

models::Split digits(std::uint32_t count) {
  const TemporaryFolder folder;
  write_digits(folder, "d", count, 1);
  auto split = models::read_idx(folder / "d-images", folder / "d-labels");
  REQUIRE(split);
  return std::move(*split);
}

models::Model fresh(const char* name) {
  auto model = models::Model::create(name, 1);
  REQUIRE(model);
  return std::move(*model);
}

struct Ended {
  std::vector<float> parameters;
  models::TrainingOutcome outcome;
};

Ended finished(const char* name, const models::Split& split, const models::TrainingPlan& plan,
               std::span<const std::byte> resume = {}) {
  models::Model model = fresh(name);
  const auto outcome = models::train(model, split, plan, seed, [](auto&&...) { return Result<>(); }, resume);
  REQUIRE(outcome);
  Ended ended{std::vector<float>(model.layout().parameters()), *outcome};
  REQUIRE(model.store(ended.parameters));
  return ended;
}

// Trains up to a batch, and gives the checkpoint that was written there.
Bytes interrupted(const char* name, const models::Split& split, const models::TrainingPlan& plan, std::uint64_t at,
                  std::span<const std::byte> resume = {}) {
  models::Model model = fresh(name);
  Bytes checkpoint;
  const auto outcome = models::train(
      model, split, plan, seed,
      [&](std::uint64_t done, std::uint64_t, const models::Snapshot& snapshot) -> Result<> {
        if (done < at) {
          return {};
        }
        checkpoint.resize(snapshot.bytes());
        REQUIRE(snapshot.write(checkpoint));
        return fail(ErrorKind::cancelled, "interrupted");
      },
      resume);
  REQUIRE_FALSE(outcome);
  REQUIRE(outcome.error().kind == ErrorKind::cancelled);
  return checkpoint;
}

// Leaves nothing in the process that could help: other random numbers, other models.
void disturb() {
  (void)finished("cnn-norm", digits(40), {1, 8, "adam", 0.001, 0, 0, "cross_entropy"});
}

}  // namespace

TEST_CASE("checkpoint: resumed training ends in the same bytes as undisturbed training") {
  struct Row {
    const char* name;
    const char* model;
    models::TrainingPlan plan;
  };
  const Row rows[] = {
      {"sgd", "2nn", {2, 16, "sgd", 0.05, 0, 0, "cross_entropy"}},
      {"momentum and decay", "2nn", momentum_plan},
      {"adam, batch normalisation and dropout", "cnn-norm", {2, 16, "adam", 0.002, 0, 1e-4, "cross_entropy"}},
      {"momentum, batch normalisation and dropout", "cnn-norm", {2, 16, "sgd", 0.02, 0.9, 0, "cross_entropy"}},
  };
  const auto split = digits(100);  // 7 batches, the last of 4 samples
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const Ended undisturbed = finished(row.model, split, row.plan);
      const std::uint64_t total = static_cast<std::uint64_t>(row.plan.epochs) * 7;
      for (const std::uint64_t at : {std::uint64_t{1}, std::uint64_t{6}, std::uint64_t{7}, total - 1}) {
        CAPTURE(at);
        const Bytes checkpoint = interrupted(row.model, split, row.plan, at);
        disturb();
        const Ended resumed = finished(row.model, split, row.plan, checkpoint);
        CHECK(resumed.outcome.resumed_at == at);
        CHECK(resumed.parameters == undisturbed.parameters);
        CHECK(resumed.outcome.loss == undisturbed.outcome.loss);
        CHECK(resumed.outcome.seconds > 0);
      }
    }
  }
}

TEST_CASE("checkpoint: training that is interrupted before every batch ends in the same bytes") {
  const auto split = digits(60);
  const models::TrainingPlan plan{2, 16, "adam", 0.002, 0, 0, "cross_entropy"};
  Bytes checkpoint;
  for (std::uint64_t at = 1; at < 8; ++at) {
    checkpoint = interrupted("cnn-norm", split, plan, at, checkpoint);
  }
  CHECK(finished("cnn-norm", split, plan, checkpoint).parameters == finished("cnn-norm", split, plan).parameters);
}

TEST_CASE("checkpoint: its size is the same before the first and before the last batch") {
  const auto split = digits(40);
  CHECK(interrupted("2nn", split, momentum_plan, 0).size() == interrupted("2nn", split, momentum_plan, 8).size());
}

TEST_CASE("checkpoint: one that does not belong to the training is refused, and the model is as it was") {
  const auto split = digits(40);
  Bytes checkpoint = interrupted("2nn", split, momentum_plan, 4);
  models::TrainingPlan plan = momentum_plan;
  std::uint64_t own_seed = seed;
  const char* name = "2nn";
  SUBCASE("another seed") {
    own_seed = 8;
  }
  SUBCASE("another learning rate") {
    plan.learning_rate = 0.03;
  }
  SUBCASE("another optimizer") {
    plan = {3, 16, "adam", 0.02, 0, 1e-4, "cross_entropy"};
  }
  SUBCASE("another model") {
    name = "softmax";
  }
  SUBCASE("shortened") {
    checkpoint.pop_back();
  }
  SUBCASE("lengthened") {
    checkpoint.push_back(std::byte{0});
  }
  SUBCASE("no checkpoint") {
    checkpoint.assign(checkpoint.size(), std::byte{0});
  }
  SUBCASE("further than the end") {
    checkpoint[40] = std::byte{200};
  }
  SUBCASE("nothing but a start") {
    checkpoint.resize(8);
  }
  models::Model model = fresh(name);
  std::vector<float> before(model.layout().parameters());
  REQUIRE(model.store(before));
  const auto outcome = models::train(model, split, plan, own_seed, [](auto&&...) { return Result<>(); }, checkpoint);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().kind == ErrorKind::corrupt);
  std::vector<float> after(before.size());
  REQUIRE(model.store(after));
  CHECK(after == before);
}
