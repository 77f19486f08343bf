// Training on a device that is not the CPU: far_memory.cpp's, whose arithmetic is the CPU's, so the bytes must be
// equal.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "flops/models/device.hpp"
#include "flops/models/runtime.hpp"
#include "samples.hpp"

using namespace flops;
using namespace flops::test;
using models::Device;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint64_t seed = 5;

struct Row {
  const char* name;
  const char* model;
  models::TrainingPlan plan;
};
const Row rows[] = {
    {"a linear model, plain sgd", "softmax", {2, 16, "sgd", 0.05, 0, 0, "cross_entropy"}},
    {"momentum, decay and another loss", "2nn", {2, 16, "sgd", 0.02, 0.9, 1e-4, "mse"}},
    {"convolutions, batch normalisation, dropout, adam", "cnn-norm", {2, 16, "adam", 0.002, 0, 0, "cross_entropy"}},
    {"FedProx", "2nn", {.epochs = 2, .batch = 16, .proximal = 0.5}},
};

models::Model make(const char* name, Device device) {
  auto model = models::Model::create(name, 1, device);
  REQUIRE_MESSAGE(model, model.error().what);
  return *std::move(model);
}

std::vector<float> trained(const Row& row, Device device, const models::Split& split,
                           std::span<const std::byte> resume = {}) {
  models::Model model = make(row.model, device);
  const auto outcome = models::train(model, split, row.plan, seed, go_on, resume);
  REQUIRE_MESSAGE(outcome, outcome.error().what);
  return parameters_of(model);
}

Bytes interrupted(const Row& row, Device device, const models::Split& split) {
  models::Model model = make(row.model, device);
  Bytes checkpoint;
  (void)models::train(model, split, row.plan, seed,
                      [&](std::uint64_t done, std::uint64_t, const models::Snapshot& snapshot) -> Result<> {
                        if (done < 5) {
                          return {};
                        }
                        checkpoint.resize(snapshot.bytes());
                        REQUIRE(snapshot.write(checkpoint));
                        return fail(ErrorKind::cancelled, "interrupted");
                      });
  REQUIRE_FALSE(checkpoint.empty());
  return checkpoint;
}

}  // namespace

TEST_CASE("device: the same first parameters, and training ends in the same bytes") {
  const auto split = digits(90, 1);
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      CHECK(parameters_of(make(row.model, Device::cuda)) == parameters_of(make(row.model, Device::cpu)));
      CHECK(trained(row, Device::cuda, split) == trained(row, Device::cpu, split));
    }
  }
}

TEST_CASE("device: a checkpoint goes on on another device") {
  const auto split = digits(90, 1);
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto undisturbed = trained(row, Device::cpu, split);
      const Bytes far = interrupted(row, Device::cuda, split);
      CHECK(trained(row, Device::cuda, split, far) == undisturbed);
      CHECK(trained(row, Device::cpu, split, far) == undisturbed);
      CHECK(trained(row, Device::cuda, split, interrupted(row, Device::cpu, split)) == undisturbed);
    }
  }
}

TEST_CASE("device: control variates") {
  const auto split = digits(60, 1);
  const models::TrainingPlan plan{.epochs = 1, .batch = 10, .learning_rate = 0.1};
  const auto own_after = [&](Device device) {
    models::Model model = make("2nn", device);
    std::vector<float> server(model.layout().parameters(), 0.001F);
    std::vector<float> own(model.layout().parameters(), -0.002F);
    REQUIRE(models::train(model, split, plan, seed, go_on, {}, {server, own}));
    auto all = parameters_of(model);
    all.insert(all.end(), own.begin(), own.end());
    return all;
  };
  CHECK(own_after(Device::cuda) == own_after(Device::cpu));
}

TEST_CASE("device: evaluation, loading, and what is refused") {
  const auto split = digits(50, 2);
  const auto measured = [&](Device device) {
    models::Model model = make("cnn-small", device);
    const auto outcome = models::evaluate(model, split, "cross_entropy", 16, go_on);
    REQUIRE_MESSAGE(outcome, outcome.error().what);
    return std::pair(outcome->loss, outcome->accuracy);
  };
  CHECK(measured(Device::cuda) == measured(Device::cpu));
  models::Model model = make("softmax", Device::cuda);
  auto flat = parameters_of(make("softmax", Device::cpu));
  flat[3] = 0.25F;
  REQUIRE(model.load(flat));
  CHECK(parameters_of(model) == flat);
  flat[3] = std::numeric_limits<float>::infinity();
  CHECK_FALSE(model.load(flat));
  const auto diverged =
      models::train(model, split, {.epochs = 40, .batch = 10, .learning_rate = 1000, .loss = "mse"}, seed, go_on);
  CHECK((!diverged || !model.store(flat)));
}

TEST_CASE("device: without LibTorch's library for CUDA the CPU is chosen, and the reason is said") {
  const models::DeviceChoice choice = models::best_device();
  CHECK(choice.device == Device::cpu);
  CHECK(choice.reason.find("libtorch_cuda.so") != std::string::npos);
  bool told = false;
  for (const auto& [name, value] : models::runtime_facts(choice)) {
    told = told || (name == "no-cuda" && value == choice.reason);
    CHECK((name != "device" || value == "cpu"));
  }
  CHECK(told);
}
