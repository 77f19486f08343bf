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
  CHECK(spec->best_by == "accuracy");
  CHECK(spec->mode == Mode::sync);
  CHECK(spec->over_select == 0);
  CHECK(spec->max_staleness == 0);
  RunSpec full = *spec;
  full.rounds = 7;
  full.seed = 99;
  full.min_fit = 3;
  full.min_available = 4;
  full.fraction = 0.5;
  full.over_select = 0.25;
  full.max_staleness = 3;
  full.deadline_seconds = 60;
  full.evaluate = false;
  full.best_by = "loss";
  full.training.optimizer = "adam";
  full.training.learning_rate = 0.001;
  const auto again = parse_run_spec(to_json(full));
  REQUIRE_MESSAGE(again.has_value(), again.error().what);
  CHECK(*again == full);
  full.training.momentum = 0.5;
  const auto unfit = parse_run_spec(to_json(full));
  REQUIRE_FALSE(unfit.has_value());
  CHECK(unfit.error().what == "training.momentum: only for sgd; adam has its own");
  full.training.learning_rate = 2000;
  const auto too_fast = parse_run_spec(to_json(full));
  REQUIRE_FALSE(too_fast.has_value());
  CHECK(too_fast.error().what.starts_with("training.learning_rate:"));
  CHECK(parse_run_spec(to_json(full), SpecFrom::record).value() == full);  // begun before that was refused
  full.training.learning_rate = 0.001;
  full.training.optimizer = "sgd";
  CHECK(parse_run_spec(to_json(full)).value() == full);
}

TEST_CASE("run spec: everything that is wrong is said at once") {
  const auto spec = parse_run_spec(
      R"({"model":"","rounds":0,"seed":-1,"fraction":2,"min_fit":5,"min_available":2,"evaluate":1,"codec":"zip","best_by":"speed",
          "training":{"epochs":1.5,"optimizer":"x","learning_rate":"fast","speed":1},"round":3})");
  REQUIRE_FALSE(spec.has_value());
  for (const char* expected :
       {"model:", "data: is missing",
        "rounds:", "seed:", "fraction:", "evaluate:", "codec:", "best_by:", "min_available: must not be smaller",
        "training.epochs:", "training.optimizer:", "training.learning_rate:", "training.speed: unknown field",
        "round: unknown field"}) {
    CHECK_MESSAGE(spec.error().what.find(expected) != std::string::npos, expected << " in\n" << spec.error().what);
  }
  for (const char* bad : {"", "[]", "nonsense", "{\"training\":3}", "[[[[[[1]]]]]]"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_run_spec(bad).has_value());
  }
}

TEST_CASE("run spec: asynchronous runs have defaults of their own, and what is written can be read") {
  const auto spec = parse_run_spec(R"({"model":"m","data":"d","mode":"async","min_fit":3})");
  REQUIRE_MESSAGE(spec.has_value(), spec.error().what);
  CHECK(spec->mode == Mode::async);
  CHECK(spec->buffer == 3);
  CHECK(spec->min_available == 3);
  CHECK(spec->max_staleness == async_max_staleness);
  const auto larger = parse_run_spec(R"({"model":"m","data":"d","mode":"async","buffer":7,"max_staleness":0})");
  REQUIRE_MESSAGE(larger.has_value(), larger.error().what);
  CHECK(larger->min_fit == 2);
  CHECK(larger->min_available == 7);
  CHECK(larger->max_staleness == 0);
  CHECK(parse_run_spec(to_json(*larger)).value() == *larger);
}

TEST_CASE("run spec: settings that do not go together are refused") {
  struct Row {
    const char* name;
    const char* fields;
    const char* problem;
  };
  const Row rows[] = {
      {"a buffer that can never be full", R"("mode":"async","buffer":5,"min_available":4)",
       "min_available: must not be smaller than buffer"},
      {"a buffer below min_fit", R"("mode":"async","buffer":1)", "buffer: must not be smaller than min_fit"},
      {"a buffer in mode sync", R"("buffer":5)", "buffer: only for mode async"},
      {"a fraction in mode async", R"("mode":"async","fraction":0.5)", "fraction: only for mode sync"},
      {"over-selection in mode async", R"("mode":"async","over_select":0.5)", "over_select: only for mode sync"},
      {"no such mode", R"("mode":"chaos")", "mode: expected one of: sync, async"},
      {"a negative surplus", R"("over_select":-0.1)", "over_select: expected a number from 0 to 10"},
      {"a surplus that is not a number", R"("over_select":"half")", "over_select: expected a number"},
      {"negative staleness", R"("max_staleness":-1)", "max_staleness: expected an integer from 0 to 1000"},
      {"too much staleness", R"("max_staleness":1001)", "max_staleness: expected an integer from 0 to 1000"},
      {"an empty buffer", R"("mode":"async","buffer":0)", "buffer: expected an integer from 1"},
  };
  for (const Row& row : rows) {
    SUBCASE(row.name) {
      const auto spec = parse_run_spec(fmt::format(R"({{"model":"m","data":"d",{}}})", row.fields));
      REQUIRE_FALSE(spec.has_value());
      CHECK_MESSAGE(spec.error().what.find(row.problem) != std::string::npos, spec.error().what);
    }
  }
}
