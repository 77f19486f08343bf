#include <algorithm>
#include <limits>

#include "support.hpp"

using namespace flops;
using namespace flops::algorithms;

namespace {

std::size_t lines(const std::string& text) {
  return 1 + static_cast<std::size_t>(std::ranges::count(text, '\n'));
}

}  // namespace

TEST_CASE("spec: every algorithm can be made with its defaults") {
  REQUIRE(all().size() == 8);
  for (const Info& info : all()) {
    CAPTURE(info.name);
    CHECK(check(defaults(info.name)).has_value());
    CHECK(make(defaults(info.name)).has_value());
    CHECK_FALSE(info.summary.empty());
    CHECK_FALSE(info.paper.empty());
  }
  CHECK(defaults("fedavg") == Spec{});
}

TEST_CASE("spec: check finds everything that is wrong at once") {
  const auto refused = check({.name = "fedavg",
                              .server_learning_rate = 0.0,
                              .momentum = 1.0,
                              .second_momentum = -0.1,
                              .adaptivity = std::numeric_limits<double>::infinity(),
                              .proximal = std::numeric_limits<double>::quiet_NaN()});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::permanent);
  // Five out of range; all but the learning rate are not fedavg's either.
  CHECK(lines(refused.error().what) == 9);
  for (const char* key : {"server_learning_rate", "momentum", "second_momentum", "adaptivity", "proximal"}) {
    CHECK(refused.error().what.find(std::string(key) + ": expected a number") != std::string::npos);
  }
}

TEST_CASE("spec: an unknown name is refused with the names there are, and the rest is checked all the same") {
  const auto refused = make({.name = "fedsgd", .momentum = 2.0});
  REQUIRE_FALSE(refused.has_value());
  CHECK(lines(refused.error().what) == 2);
  CHECK(refused.error().what.find("fedadagrad") != std::string::npos);
}

TEST_CASE("spec: a key that the algorithm does not use is refused when it says something") {
  struct Row {
    Spec spec;
    bool good;
  };
  const Row rows[] = {
      {{.name = "fedavg", .momentum = 0.5}, false},
      {{.name = "fedavgm", .momentum = 0.5}, true},
      {{.name = "fedavgm", .second_momentum = 0.5}, false},
      {{.name = "fedprox", .proximal = 1.0}, true},
      {{.name = "fedavg", .proximal = 1.0}, false},
      {{.name = "fedadam", .second_momentum = 0.5, .adaptivity = 0.1}, true},
      {{.name = "fedyogi", .proximal = 0.1}, false},
      {{.name = "fedadagrad", .second_momentum = 0.5}, false},
      {{.name = "scaffold", .server_learning_rate = 0.5}, true},
      {{.name = "scaffold", .momentum = 0.5}, false},
      {{.name = "fednova", .adaptivity = 0.1}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.spec.name);
    CHECK(check(row.spec).has_value() == row.good);
  }
}

TEST_CASE("statistics of layers are told from parameters by their names") {
  CHECK(is_statistic("norm1.running_mean"));
  CHECK(is_statistic("running_var"));
  CHECK(is_statistic("0/norm1.running_var"));
  CHECK_FALSE(is_statistic("running_mean.weight"));
  CHECK_FALSE(is_statistic("fc1.weight"));
  CHECK_FALSE(is_statistic(""));
}
