#include <doctest/doctest.h>

#include "flops/rounds/run_spec.hpp"

using namespace flops::rounds;

TEST_CASE("run spec: defaults, and what is written can be read") {
  const auto spec = parse_run_spec(R"({"model":"cnn-small","data":"mnist"})");
  REQUIRE_MESSAGE(spec.has_value(), spec.error().what);
  CHECK(spec->rounds == 5);
  CHECK(spec->min_fit == 2);
  CHECK(spec->min_available == 2);
  CHECK(spec->evaluate);
  RunSpec full = *spec;
  full.rounds = 7;
  full.seed = 99;
  full.min_fit = 3;
  full.min_available = 4;
  full.fraction = 0.5;
  full.deadline_seconds = 60;
  full.evaluate = false;
  full.training.optimizer = "adam";
  full.training.learning_rate = 0.001;
  full.training.momentum = 0.5;
  const auto again = parse_run_spec(to_json(full));
  REQUIRE_MESSAGE(again.has_value(), again.error().what);
  CHECK(*again == full);
}

TEST_CASE("run spec: everything that is wrong is said at once") {
  const auto spec = parse_run_spec(
      R"({"model":"","rounds":0,"seed":-1,"fraction":2,"min_fit":5,"min_available":2,"evaluate":1,"codec":"zip",
          "training":{"epochs":1.5,"optimizer":"x","learning_rate":"fast","speed":1},"round":3})");
  REQUIRE_FALSE(spec.has_value());
  for (const char* expected : {"model:", "data: is missing", "rounds:", "seed:", "fraction:", "evaluate:", "codec:",
                               "min_available: must not be smaller", "training.epochs:", "training.optimizer:",
                               "training.learning_rate:", "training.speed: unknown field", "round: unknown field"}) {
    CHECK_MESSAGE(spec.error().what.find(expected) != std::string::npos, expected << " in\n" << spec.error().what);
  }
  for (const char* bad : {"", "[]", "nonsense", "{\"training\":3}", "[[[[[[1]]]]]]"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_run_spec(bad).has_value());
  }
}
