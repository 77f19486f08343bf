// Rounds closed with an algorithm's step, through real stored updates.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

#include <doctest/doctest.h>

#include "fixture.hpp"
#include "flops/aggregation/weight.hpp"

using namespace flops;
using namespace flops::aggregation;
using namespace flops::aggregation::testing;

namespace {

struct Update {
  std::vector<float> values;
  algorithms::Contribution work;
  StoredUpdate stored;
};

std::unique_ptr<algorithms::Algorithm> algorithm(const char* name) {
  auto made = algorithms::make(algorithms::defaults(name));
  REQUIRE(made.has_value());
  return *std::move(made);
}

// Three updates from `model`, which is stored.
std::vector<Update> updates_from(Fixture& fixture, const Digest& model, unsigned seed) {
  const std::vector<float> from = fixture.values_of(model);
  const algorithms::Contribution work[] = {{100, 16}, {7, 3}, {1234, 40}};
  std::vector<Update> made;
  for (unsigned i = 0; i < 3; ++i) {
    std::vector<float> values = random_values(seed + i, 0.01F, from);
    const StoredUpdate stored = fixture.update_from(from, fmt::format("u{}-{}", seed, i), values);
    made.push_back({std::move(values), work[i], stored});
  }
  return made;
}

std::unique_ptr<RoundSum> sum_of(Fixture& fixture, const Digest& base, const algorithms::Algorithm& tested,
                                 const std::vector<Update>& updates) {
  auto sum = RoundSum::open(fixture.models, base);
  REQUIRE(sum.has_value());
  for (const Update& update : updates) {
    const auto added = (*sum)->add(update.stored, update.work, weight_in_sum(tested.weight(update.work), 0, true));
    REQUIRE_MESSAGE(added.has_value(), added.error().what);
  }
  return *std::move(sum);
}

NewModel close(Fixture& fixture, const RoundSum& sum, const ServerStep& step) {
  auto model = sum.close(fixture.models, step);
  REQUIRE_MESSAGE(model.has_value(), model.error().what);
  return *model;
}

std::vector<float> state_of(Fixture& fixture, const Digest& state, std::size_t vectors) {
  auto file = tensor::open_safetensors(fixture.models.state_path_of(state));
  REQUIRE(file.has_value());
  REQUIRE(file->layout == state_layout(fixture.layout, vectors).value());
  std::vector<float> values(vectors * parameters);
  REQUIRE(file->values()(0, values).has_value());
  return values;
}

std::size_t files(const Fixture& fixture) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(fixture.folder.path()), {}));
}

}  // namespace

TEST_CASE("server step: plain fedavg has the bytes of the mean and no state") {
  Fixture fixture;
  const auto fedavg = algorithm("fedavg");
  const auto sum = sum_of(fixture, fixture.base_digest, *fedavg, updates_from(fixture, fixture.base_digest, 10));
  const NewModel mean = sum->close(fixture.models).value();
  const NewModel stepped = close(fixture, *sum, {.algorithm = fedavg.get(), .population = 3});
  CHECK(stepped.digest == mean.digest);
  CHECK(stepped.state.empty());
  CHECK(stepped.file_bytes == mean.file_bytes);
}

TEST_CASE("server step: the state goes on from round to round, and order does not change a byte of it") {
  Fixture fixture;
  for (const auto& [name, vectors] :
       {std::pair{"fedavgm", 1U}, std::pair{"fedadam", 2U}, std::pair{"fedyogi", 2U}, std::pair{"fedadagrad", 2U}}) {
    CAPTURE(name);
    const auto tested = algorithm(name);
    Digest base = fixture.base_digest;
    Digest state;
    std::vector<float> model = fixture.base;
    std::vector<float> kept(vectors * parameters);
    for (unsigned round = 0; round < 3; ++round) {
      auto updates = updates_from(fixture, base, 100 + 10 * round);
      const ServerStep step{.algorithm = tested.get(), .state = state, .population = 5};
      const auto sum = sum_of(fixture, base, *tested, updates);
      const NewModel next = close(fixture, *sum, step);
      std::ranges::rotate(updates, updates.begin() + 1);
      const NewModel other = close(fixture, *sum_of(fixture, base, *tested, updates), step);
      CHECK(other.digest == next.digest);
      CHECK(other.state == next.state);

      // The whole vector in one block, in memory.
      const std::vector<float> mean = fixture.values_of(sum->close(fixture.models).value().digest);
      std::vector<float> expected(parameters);
      algorithms::Block block{0, model, mean, expected, {}};
      for (std::size_t k = 0; k < vectors; ++k) {
        block.state[k] = std::span(kept).subspan(k * parameters, parameters);
      }
      tested->step(block, {sum->totals(), 5, parameters});
      CHECK(fixture.values_of(next.digest) == expected);
      CHECK(state_of(fixture, next.state, vectors) == kept);
      CHECK(next.digest == tensor::model_digest(fixture.layout, tensor::from_memory(expected)).value());
      model = expected;
      base = next.digest;
      state = next.state;
    }
  }
}

TEST_CASE("server step: fednova weighs by samples a step and restores the length of the step") {
  Fixture fixture;
  const auto nova = algorithm("fednova");
  const auto updates = updates_from(fixture, fixture.base_digest, 10);
  const auto sum = sum_of(fixture, fixture.base_digest, *nova, updates);
  CHECK(sum->totals().participants == 3);
  CHECK(sum->totals().samples == 1341);
  CHECK(sum->totals().sample_steps == 100 * 16 + 7 * 3 + 1234 * 40);
  const auto model = fixture.values_of(close(fixture, *sum, {.algorithm = nova.get(), .population = 3}).digest);
  const double effective = (100.0 * 16 + 7.0 * 3 + 1234.0 * 40) / 1341.0;
  for (std::size_t i = 0; i < parameters; i += 11) {
    double direction = 0;
    for (const Update& update : updates) {
      direction += static_cast<double>(update.work.samples) / 1341.0 *
                   (static_cast<double>(update.values[i]) - fixture.base[i]) / static_cast<double>(update.work.steps);
    }
    REQUIRE(std::fabs(model[i] - (fixture.base[i] + effective * direction)) < 1e-6);
  }
}

TEST_CASE("server step: a refused update is not in the totals either") {
  Fixture fixture;
  const auto nova = algorithm("fednova");
  const auto updates = updates_from(fixture, fixture.base_digest, 10);
  const auto sum = sum_of(fixture, fixture.base_digest, *nova, updates);
  const algorithms::Totals before = sum->totals();
  CHECK_FALSE(sum->add(updates[0].stored, {100, 0}, nova->weight({100, 0})).has_value());
  std::vector<float> bad = fixture.base;
  bad[parameters - 1] = 1e30F;
  CHECK_FALSE(sum->add(fixture.update("bad", bad), {100, 10}, 100).has_value());
  CHECK_FALSE(sum->add(updates[0].stored, {100, ~0ULL}, 100).has_value());
  CHECK(sum->totals() == before);
}

TEST_CASE("server step: scaffold moves the model and its control variates by rates of their own") {
  Fixture fixture;
  const auto scaffold = algorithm("scaffold");
  const auto small = tensor::Layout::create({{"a", {75'000}, 0, 0}}).value();
  fixture.layout = scaffold->layout(small).value();
  REQUIRE(fixture.layout.parameters() == parameters);
  fixture.base_digest = fixture.store(fixture.base);
  const auto updates = updates_from(fixture, fixture.base_digest, 10);
  const auto sum = sum_of(fixture, fixture.base_digest, *scaffold, updates);
  const NewModel next = close(fixture, *sum, {.algorithm = scaffold.get(), .population = 12});
  CHECK(next.state.empty());
  const auto model = fixture.values_of(next.digest);
  for (std::size_t i = 0; i < parameters; ++i) {
    const double base = fixture.base[i];
    const double mean = (static_cast<double>(updates[0].values[i]) + updates[1].values[i] + updates[2].values[i]) / 3;
    REQUIRE(std::fabs(model[i] - (base + (i < 75'000 ? 1.0 : 0.25) * (mean - base))) < 3e-8);
  }
}

TEST_CASE("server step: statistics of a layer are averaged, whatever the algorithm, and their state stays zero") {
  Fixture fixture;
  fixture.layout =
      tensor::Layout::create(
          {{"conv.weight", {70'000}, 0, 0}, {"norm.running_var", {60'000}, 0, 0}, {"fc.weight", {20'000}, 0, 0}})
          .value();
  fixture.base_digest = fixture.store(fixture.base);
  const auto adam = algorithm("fedadam");
  const auto sum = sum_of(fixture, fixture.base_digest, *adam, updates_from(fixture, fixture.base_digest, 10));
  const auto mean = fixture.values_of(sum->close(fixture.models).value().digest);
  const NewModel next = close(fixture, *sum, {.algorithm = adam.get(), .population = 3});
  const auto model = fixture.values_of(next.digest);
  const auto state = state_of(fixture, next.state, 2);
  CHECK(std::equal(mean.begin() + 70'000, mean.begin() + 130'000, model.begin() + 70'000));
  CHECK(std::all_of(state.begin() + 70'000, state.begin() + 130'000, [](float value) { return value == 0.0F; }));
  CHECK(model[69'999] != mean[69'999]);
  CHECK(model[130'000] != mean[130'000]);
  CHECK(state[69'999] != 0.0F);
  CHECK(state[130'000] != 0.0F);
}

TEST_CASE("server step: an old state that cannot be used is an error that names its file, and nothing is left behind") {
  Fixture fixture;
  const auto adam = algorithm("fedadam");
  const auto sum = sum_of(fixture, fixture.base_digest, *adam, updates_from(fixture, fixture.base_digest, 10));
  const Digest state = Digest::from_hex(std::string(64, 'a')).value();
  const auto file = fixture.models.state_path_of(state);
  SUBCASE("missing") {}
  SUBCASE("another number of vectors") {
    REQUIRE(tensor::write_safetensors(file, state_layout(fixture.layout, 1).value(), {}, tensor::zeros()).has_value());
  }
  SUBCASE("not a safetensors file") {
    std::ofstream(file) << "nonsense";
  }
  const std::size_t before = files(fixture);
  const auto refused = sum->close(fixture.models, {.algorithm = adam.get(), .state = state, .population = 3});
  REQUIRE_FALSE(refused.has_value());
  CHECK_MESSAGE(refused.error().what.find(file.string()) != std::string::npos, refused.error().what);
  CHECK(files(fixture) == before);
}

TEST_CASE("server step: a step beyond float32 is refused, and nothing is left behind") {
  Fixture fixture;
  fixture.base[5] = 1e35F;
  fixture.base_digest = fixture.store(fixture.base);
  auto spec = algorithms::defaults("fedavgm");
  spec.server_learning_rate = 1000;
  const auto tested = algorithms::make(spec).value();
  std::vector<float> local = fixture.base;
  local[5] = -1e36F;
  const Update update{local, {10, 1}, fixture.update("u", local)};
  const auto sum = sum_of(fixture, fixture.base_digest, *tested, {update});
  const std::size_t before = files(fixture);
  const auto refused = sum->close(fixture.models, {.algorithm = tested.get(), .population = 1});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::permanent);
  CHECK(files(fixture) == before);
}

TEST_CASE("server step: an empty round has no step") {
  Fixture fixture;
  const auto adam = algorithm("fedadam");
  const auto sum = RoundSum::open(fixture.models, fixture.base_digest);
  REQUIRE(sum.has_value());
  CHECK_FALSE((*sum)->close(fixture.models, {.algorithm = adam.get()}).has_value());
}

TEST_CASE("model folder: states that nothing needs are removed, and only they") {
  Fixture fixture;
  const auto adam = algorithm("fedadam");
  const auto sum = sum_of(fixture, fixture.base_digest, *adam, updates_from(fixture, fixture.base_digest, 10));
  const NewModel first = close(fixture, *sum, {.algorithm = adam.get(), .population = 3});
  const NewModel second = close(fixture, *sum, {.algorithm = adam.get(), .state = first.state, .population = 3});
  REQUIRE(first.state != second.state);
  const std::size_t before = files(fixture);
  CHECK(fixture.models.keep_states({second.state}).has_value());
  CHECK(files(fixture) == before - 1);
  CHECK_FALSE(std::filesystem::exists(fixture.models.state_path_of(first.state)));
  CHECK(std::filesystem::exists(fixture.models.state_path_of(second.state)));
  CHECK(fixture.models.open(first.digest).has_value());
  CHECK(fixture.models.keep_states({}).has_value());
  CHECK(files(fixture) == before - 2);
}
