// Each algorithm against the formulas of its paper, written down plainly, in double, over several rounds.
#include <cmath>
#include <functional>

#include "support.hpp"

using namespace flops;
using namespace flops::algorithms;
using namespace flops::algorithms::testing;

namespace {

constexpr std::size_t size = 500;
constexpr int rounds = 6;

// Three devices that move away from the model, differently in every round.
std::vector<Device> devices_of(const Values& model, std::uint64_t round) {
  const Contribution work[] = {{100, 12}, {37, 5}, {640, 77}};
  std::vector<Device> devices;
  for (std::size_t k = 0; k < std::size(work); ++k) {
    Values values = random_values(100 * round + k, size, 0.05F);
    for (std::size_t i = 0; i < size; ++i) {
      values[i] += model[i];
    }
    devices.push_back({std::move(values), work[k]});
  }
  return devices;
}

// The mean of (x_i - x), weighted by samples.
double change(const std::vector<Device>& devices, double base, std::size_t i) {
  double sum = 0;
  double total = 0;
  for (const Device& device : devices) {
    sum += static_cast<double>(device.work.samples) * (device.values[i] - base);
    total += static_cast<double>(device.work.samples);
  }
  return sum / total;
}

// One element: its value, what the reference keeps (m, v), the mean change.
using Rule = std::function<double(double x, double& m, double& v, double d)>;

struct Row {
  Spec spec;
  double first_v;
  Rule rule;
};

std::vector<Row> rows() {
  const double tau = 0.01;
  const auto adaptive = [tau](double beta1, const std::function<double(double, double)>& next_v) -> Rule {
    return [=](double x, double& m, double& v, double d) {
      m = beta1 * m + (1 - beta1) * d;
      v = next_v(v, d * d);
      return x + 0.05 * m / (std::sqrt(v) + tau);
    };
  };
  const auto sign = [](double z) { return z > 0 ? 1.0 : z < 0 ? -1.0 : 0.0; };
  return {
      {{.name = "fedavg"}, 0, [](double x, double&, double&, double d) { return x + d; }},
      {{.name = "fedavg", .server_learning_rate = 0.3},
       0,
       [](double x, double&, double&, double d) { return x + 0.3 * d; }},
      {{.name = "fedprox", .proximal = 0.1}, 0, [](double x, double&, double&, double d) { return x + d; }},
      {{.name = "fedavgm", .server_learning_rate = 0.5, .momentum = 0.8},
       0,
       [](double x, double& m, double&, double d) {
         m = 0.8 * m - d;
         return x - 0.5 * m;
       }},
      {{.name = "fedadam", .server_learning_rate = 0.05, .momentum = 0.7, .second_momentum = 0.9, .adaptivity = tau},
       tau * tau,
       adaptive(0.7, [](double v, double dd) { return 0.9 * v + 0.1 * dd; })},
      {{.name = "fedyogi", .server_learning_rate = 0.05, .momentum = 0.7, .second_momentum = 0.9, .adaptivity = tau},
       tau * tau,
       adaptive(0.7, [sign](double v, double dd) { return v - 0.1 * dd * sign(v - dd); })},
      {{.name = "fedadagrad", .server_learning_rate = 0.05, .momentum = 0.2, .adaptivity = tau},
       tau * tau,
       adaptive(0.2, [](double v, double dd) { return v + dd; })},
  };
}

}  // namespace

TEST_CASE("algorithms: over several rounds the model is what the paper's formula gives") {
  for (const Row& row : rows()) {
    CAPTURE(row.spec.name);
    const auto tested = algorithm(row.spec);
    const Values start = random_values(1, size, 0.2F);
    Server server(*tested, start);
    Exact x(start.begin(), start.end());
    Exact m(size, 0.0);
    Exact v(size, row.first_v);
    for (int round = 1; round <= rounds; ++round) {
      const auto devices = devices_of(server.model, static_cast<std::uint64_t>(round));
      for (std::size_t i = 0; i < size; ++i) {
        x[i] = row.rule(x[i], m[i], v[i], change(devices, server.model[i], i));
      }
      server.step(*tested, mean_of(*tested, devices), {totals_of(devices), 3, size}, size);
      for (std::size_t i = 0; i < size; ++i) {
        // Two units in the last place of values near 1, a round: mean, state and model are rounded each.
        REQUIRE(std::fabs(server.model[i] - x[i]) < 2.4e-7 * round);
      }
    }
  }
}

TEST_CASE("fedavg: with a rate of 1 the next model is the mean, bit for bit") {
  const auto tested = algorithm({});
  CHECK(tested->is_plain_mean());
  CHECK(algorithm({.name = "fedprox", .proximal = 0.5})->is_plain_mean());
  CHECK_FALSE(algorithm({.name = "fedavg", .server_learning_rate = 0.999})->is_plain_mean());
  Server server(*tested, random_values(1, size, 1e6F));
  const Values mean = random_values(2, size, 1e-6F);
  server.step(*tested, mean, {}, 7);
  CHECK(bits_of(server.model) == bits_of(mean));
}

TEST_CASE("fedprox: devices are told mu, nobody else's are told anything") {
  CHECK(algorithm({.name = "fedprox", .proximal = 0.25})->client() == ClientSide{0.25, false});
  CHECK(algorithm({.name = "scaffold"})->client() == ClientSide{0.0, true});
  for (const char* name : {"fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "fednova"}) {
    CHECK(algorithm(defaults(name))->client() == ClientSide{});
  }
}

TEST_CASE("adaptive algorithms: without any change the model stays, over a thousand rounds") {
  for (const char* name : {"fedadam", "fedyogi", "fedadagrad"}) {
    const auto tested = algorithm(defaults(name));
    const Values start = random_values(1, 20, 0.2F);
    Server server(*tested, start);
    for (int round = 0; round < 1000; ++round) {
      server.step(*tested, start, {}, 20);
    }
    CHECK(server.model == start);
    // v has become tiny, or stayed; a change after that is not taken for the first: Adam's step is then the larger.
    Values moved = start;
    moved[0] += 0.1F;
    server.step(*tested, moved, {}, 20);
    CHECK(server.model[0] > start[0]);
    CHECK(std::isfinite(server.model[0]));
  }
}

TEST_CASE("fednova: the step is the paper's, for devices with different numbers of steps") {
  const auto tested = algorithm({.name = "fednova", .server_learning_rate = 0.7});
  Server server(*tested, random_values(1, size, 0.2F));
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    const auto devices = devices_of(server.model, round);
    double n = 0;
    double effective = 0;
    for (const Device& device : devices) {
      n += static_cast<double>(device.work.samples);
      effective += static_cast<double>(device.work.samples * device.work.steps);
    }
    effective /= n;
    Exact x(size);
    for (std::size_t i = 0; i < size; ++i) {
      double direction = 0;
      for (const Device& device : devices) {
        direction += static_cast<double>(device.work.samples) / n * (device.values[i] - server.model[i]) /
                     static_cast<double>(device.work.steps);
      }
      x[i] = server.model[i] + 0.7 * effective * direction;
    }
    server.step(*tested, mean_of(*tested, devices), {totals_of(devices), 3, size}, size);
    for (std::size_t i = 0; i < size; ++i) {
      // Weights are rounded to 1/4096 of at least 7: 2e-5 of a step of 0.05, and the model's own rounding.
      REQUIRE(std::fabs(server.model[i] - x[i]) < 1e-6);
    }
  }
}

TEST_CASE("fednova: with equal steps it is fedavg") {
  const auto nova = algorithm({.name = "fednova"});
  const auto avg = algorithm({});
  const Values start = random_values(1, size, 0.2F);
  const auto run = [&](const Algorithm& tested, std::uint64_t steps) {
    Server server(tested, start);
    auto devices = devices_of(start, 1);
    for (Device& device : devices) {
      device.work.steps = steps;
    }
    server.step(tested, mean_of(tested, devices), {totals_of(devices), 3, size}, size);
    return server.model;
  };
  const Values expected = run(*avg, 16);
  SUBCASE("bit for bit when all quotients are whole 1/4096") {
    CHECK(bits_of(run(*nova, 1)) == bits_of(expected));
    CHECK(bits_of(run(*nova, 16)) == bits_of(expected));
    CHECK(bits_of(run(*nova, 4096)) == bits_of(expected));
  }
  SUBCASE("else within the rounding of the weights: a device's by at most steps / (8192 samples), 2.4e-5 here") {
    const Values model = run(*nova, 7);
    for (std::size_t i = 0; i < size; ++i) {
      REQUIRE(std::fabs(model[i] - expected[i]) < 2 * 2.4e-5 * 0.05 + 1.5e-8);
    }
  }
}

TEST_CASE("fednova: who does not say its steps weighs nothing, which a sum refuses") {
  const auto tested = algorithm({.name = "fednova"});
  CHECK(tested->weight({100, 0}) == 0);
  CHECK(tested->weight({100, 10}) == 40'960);
  CHECK(tested->weight({1, 1'000'000}) == 1);
  CHECK(algorithm({})->weight({100, 0}) == 100);
  CHECK(algorithm({.name = "scaffold"})->weight({100, 0}) == 1);
}

TEST_CASE("scaffold: control variates travel beside the model and stay the mean of the devices' own") {
  const auto tested = algorithm({.name = "scaffold", .server_learning_rate = 0.9});
  const auto model = tensor::Layout::create({{"w", {20, 10}, 0, 0}, {"b", {10}, 0, 0}}).value();
  const auto both = tested->layout(model).value();
  REQUIRE(both.parameters() == 2 * model.parameters());
  CHECK(tested->model_parameters(both) == model.parameters());
  CHECK(both.tensors()[2].name == "scaffold.c/w");
  CHECK(both.tensors()[3].name == "scaffold.c/b");
  CHECK(both.tensors()[3].shape == std::vector<std::int64_t>{10});

  const std::size_t half = model.parameters();
  constexpr std::size_t population = 5;
  constexpr double eta = 0.1;
  constexpr int local_steps = 4;
  // Device i pulls to its own optimum: g_i(y) = y - optimum_i.
  std::vector<Values> optima;
  optima.reserve(population);
  std::vector<Exact> own(population, Exact(half, 0.0));
  for (std::size_t i = 0; i < population; ++i) {
    optima.push_back(random_values(40 + i, half, 0.5F));
  }
  Server server(*tested, Values(2 * half));
  Exact x(half, 0.0);
  Exact c(half, 0.0);
  for (std::size_t round = 0; round < 8; ++round) {
    std::vector<Device> devices;
    Exact moved(half, 0.0);
    Exact corrected(half, 0.0);
    for (const std::size_t i : {round % population, (round + 2) % population}) {
      Values sent(2 * half);
      for (std::size_t e = 0; e < half; ++e) {
        double y = x[e];
        for (int k = 0; k < local_steps; ++k) {
          y -= eta * (y - optima[i][e] - own[i][e] + c[e]);
        }
        const double after = own[i][e] - c[e] + (x[e] - y) / (local_steps * eta);
        sent[e] = static_cast<float>(y);
        sent[half + e] = static_cast<float>(c[e] + (after - own[i][e]));
        moved[e] += (y - x[e]) / 2;
        corrected[e] += (after - own[i][e]) / 2;
        own[i][e] = after;
      }
      devices.push_back({std::move(sent), {10 + 90 * i, local_steps}});
    }
    for (std::size_t e = 0; e < half; ++e) {
      x[e] += 0.9 * moved[e];
      c[e] += 2.0 / population * corrected[e];
    }
    server.step(*tested, mean_of(*tested, devices), {totals_of(devices), population, half}, 130);
    for (std::size_t e = 0; e < half; ++e) {
      REQUIRE(std::fabs(server.model[e] - x[e]) < 1e-6);
      REQUIRE(std::fabs(server.model[half + e] - c[e]) < 1e-6);
      double mean = 0;
      for (const Exact& one : own) {
        mean += one[e] / population;
      }
      REQUIRE(std::fabs(server.model[half + e] - mean) < 1e-6);
    }
  }
}

TEST_CASE("scaffold: a model whose names leave no room for control variates is refused") {
  const auto model = tensor::Layout::create({{std::string(250, 'w'), {2}, 0, 0}}).value();
  const auto refused = algorithm({.name = "scaffold"})->layout(model);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::permanent);
}

TEST_CASE("layout: all others send the model as it is") {
  const auto model = tensor::Layout::create({{"w", {3}, 0, 0}}).value();
  for (const char* name : {"fedavg", "fedavgm", "fedprox", "fedadam", "fedyogi", "fedadagrad", "fednova"}) {
    const auto tested = algorithm(defaults(name));
    CHECK(tested->layout(model).value() == model);
    CHECK(tested->model_parameters(model) == 3);
  }
}
