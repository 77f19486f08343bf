// The promises of the accumulator over many random cases: what happens in whatever order has the same bytes.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>
#include <tuple>

#include "flops/tensor/accumulator.hpp"
#include "support.hpp"

namespace flops::tensor {
namespace {

using namespace testing;

struct Update {
  std::vector<float> values;
  std::uint32_t weight;
};

struct Case {
  Layout layout;
  Scales scales;
  std::vector<Update> updates;
};

// A value of a tensor of scale E: mostly of everyday size, sometimes at the edge of the range or far below the unit.
float value_in(Random& random, int scale) {
  const int exponent = random() % 8 == 0 ? -static_cast<int>(random() % 90) : -static_cast<int>(random() % 12);
  const float value = std::ldexp(uniform(random, -1.0F, 1.0F), scale + exponent);
  return std::fabs(value) < std::ldexp(1.0F, scale) ? value : 0.0F;
}

std::uint32_t weight_of(Random& random) {
  return random() % 4 == 0 ? static_cast<std::uint32_t>(1 + random() % 100'000'000)
                           : static_cast<std::uint32_t>(1 + random() % 10'000);
}

Case make_case(Random& random) {
  std::vector<TensorSpec> specs;
  Scales scales;
  const std::size_t tensors = 1 + random() % 4;
  for (std::size_t i = 0; i < tensors; ++i) {
    specs.push_back({"t" + std::to_string(i), {static_cast<std::int64_t>(1 + random() % 40)}, 0, 0});
    scales.push_back(random() % 3 == 0 ? min_scale + static_cast<int>(random() % 188) : 4);
  }
  Case made{Layout::create(std::move(specs)).value(), std::move(scales), {}};
  const std::size_t updates = 2 + random() % 9;
  for (std::size_t i = 0; i < updates; ++i) {
    Update update{{}, weight_of(random)};
    for (std::size_t tensor = 0; tensor < tensors; ++tensor) {
      for (std::uint64_t j = 0; j < made.layout.tensors()[tensor].count; ++j) {
        update.values.push_back(value_in(random, made.scales[tensor]));
      }
    }
    made.updates.push_back(std::move(update));
  }
  return made;
}

Accumulator empty_sum(const Case& c) {
  return Accumulator::create(c.layout, c.scales).value();
}

bool add_whole(Accumulator& sum, const Update& update) {
  if (!sum.fits(update.weight) || !sum.add(0, update.values, update.weight)) {
    return false;
  }
  sum.count(update.weight);
  return true;
}

Accumulator sum_of(const Case& c) {
  Accumulator sum = empty_sum(c);
  for (const Update& update : c.updates) {
    REQUIRE(add_whole(sum, update));
  }
  return sum;
}

std::vector<float> mean_of(const Accumulator& sum, const Case& c) {
  std::vector<float> mean(c.layout.parameters());
  REQUIRE(sum.mean(to_memory(mean)).has_value());
  return mean;
}

TEST_CASE("accumulator: every order of updates gives the same bytes") {
  Random random(101);
  for (int i = 0; i < 200; ++i) {
    Case c = make_case(random);
    const auto expected = bits_of(mean_of(sum_of(c), c));
    for (int order = 0; order < 4; ++order) {
      std::ranges::shuffle(c.updates, random);
      REQUIRE(bits_of(mean_of(sum_of(c), c)) == expected);
    }
  }
}

TEST_CASE("accumulator: every cut into spans, in any order and across tensors, gives the same bytes") {
  Random random(102);
  for (int i = 0; i < 200; ++i) {
    const Case c = make_case(random);
    const auto expected = bits_of(mean_of(sum_of(c), c));
    Accumulator sum = empty_sum(c);
    for (const Update& update : c.updates) {
      std::vector<std::pair<std::size_t, std::size_t>> spans;
      for (std::size_t at = 0; at < update.values.size();) {
        const std::size_t size = std::min<std::size_t>(1 + random() % 50, update.values.size() - at);
        spans.emplace_back(at, size);
        at += size;
      }
      std::ranges::shuffle(spans, random);
      for (const auto& [at, size] : spans) {
        REQUIRE(sum.add(at, std::span(update.values).subspan(at, size), update.weight).has_value());
      }
      sum.count(update.weight);
    }
    REQUIRE(bits_of(mean_of(sum, c)) == expected);
  }
}

TEST_CASE("accumulator: every split into threads on disjoint ranges gives the same bytes") {
  Random random(103);
  for (int i = 0; i < 40; ++i) {
    const Case c = make_case(random);
    const auto expected = bits_of(mean_of(sum_of(c), c));
    const std::size_t count = c.layout.parameters();
    const std::size_t threads = 1 + random() % 5;
    Accumulator sum = empty_sum(c);
    std::vector<std::thread> running;
    running.reserve(threads);
    for (std::size_t t = 0; t < threads; ++t) {
      running.emplace_back([&, begin = count * t / threads, end = count * (t + 1) / threads] {
        for (const Update& update : c.updates) {
          static_cast<void>(sum.add(begin, std::span(update.values).subspan(begin, end - begin), update.weight));
        }
      });
    }
    for (std::thread& thread : running) {
      thread.join();
    }
    for (const Update& update : c.updates) {
      sum.count(update.weight);
    }
    REQUIRE(bits_of(mean_of(sum, c)) == expected);
  }
}

TEST_CASE("accumulator: every tree of partial sums gives the same bytes") {
  Random random(104);
  for (int i = 0; i < 200; ++i) {
    const Case c = make_case(random);
    const auto expected = bits_of(mean_of(sum_of(c), c));
    std::vector<Accumulator> forest;
    for (const Update& update : c.updates) {
      if (forest.empty() || random() % 2 == 0) {
        forest.push_back(empty_sum(c));
      }
      REQUIRE(add_whole(forest[random() % forest.size()], update));
    }
    while (forest.size() > 1) {
      std::swap(forest[random() % forest.size()], forest.back());
      const Accumulator taken = forest.back();
      forest.pop_back();
      REQUIRE(forest[random() % forest.size()].merge(taken).has_value());
    }
    REQUIRE(bits_of(mean_of(forest[0], c)) == expected);
  }
}

TEST_CASE("accumulator: what is added and taken out again leaves nothing behind") {
  Random random(105);
  for (int i = 0; i < 200; ++i) {
    const Case c = make_case(random);
    const auto expected = bits_of(mean_of(sum_of(c), c));
    Accumulator sum = empty_sum(c);
    std::vector<Update> strangers;
    for (int j = 0; j < 3; ++j) {
      Update stranger = c.updates[random() % c.updates.size()];
      std::ranges::for_each(stranger.values, [](float& value) { value *= 0.7F; });
      stranger.weight = weight_of(random);
      REQUIRE(sum.add(0, stranger.values, stranger.weight).has_value());
      strangers.push_back(std::move(stranger));
    }
    for (const Update& update : c.updates) {
      REQUIRE(add_whole(sum, update));
    }
    std::ranges::shuffle(strangers, random);
    for (const Update& stranger : strangers) {
      sum.subtract(0, stranger.values, stranger.weight);
    }
    REQUIRE(bits_of(mean_of(sum, c)) == expected);
  }
}

TEST_CASE("accumulator: steps from elsewhere mix with values in any order, and can be taken out again") {
  Random random(109);
  for (int i = 0; i < 200; ++i) {
    Case c = make_case(random);
    // A quarter of the range for each, so that every result is inside.
    for (Update& update : c.updates) {
      std::ranges::for_each(update.values, [](float& value) { value *= 0.25F; });
    }
    const auto& [from, to, now] = std::tie(c.updates[0].values, c.updates[1].values, c.updates.back().values);
    const Step step{from, to, now};
    const std::uint32_t weight = weight_of(random);
    Accumulator before = empty_sum(c);
    REQUIRE(before.add_step(0, step, weight).has_value());
    before.count(weight);
    Accumulator after = empty_sum(c);
    REQUIRE(after.add_step(0, step, 5).has_value());
    for (const Update& update : c.updates) {
      REQUIRE(add_whole(before, update));
      REQUIRE(add_whole(after, update));
    }
    const std::size_t half = to.size() / 2;
    REQUIRE(after.add_step(half, Step{step.from.subspan(half), step.to.subspan(half), step.now.subspan(half)}, weight));
    REQUIRE(after.add_step(0, Step{step.from.first(half), step.to.first(half), step.now.first(half)}, weight));
    after.count(weight);
    after.subtract_step(0, step, 5);
    REQUIRE(bits_of(mean_of(after, c)) == bits_of(mean_of(before, c)));
  }
}

TEST_CASE("accumulator: a step whose result leaves the range, or of unequal length, is refused and adds nothing") {
  const Layout layout = layout_of({{"x", {2}}});
  Accumulator sum = Accumulator::create(layout, {4}).value();
  const std::vector<float> low = {0.0F, -15.0F};
  const std::vector<float> high = {0.0F, 15.0F};
  const auto refused = sum.add_step(0, Step{low, high, high}, 1);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::permanent);
  CHECK(refused.error().what.find("x[1]") != std::string::npos);
  CHECK_FALSE(sum.add_step(0, Step{low, high, std::span(high).first(1)}, 1).has_value());
  REQUIRE(sum.add_step(0, Step{low, low, high}, 1).has_value());
  sum.count(1);
  std::vector<float> mean(2);
  REQUIRE(sum.mean(to_memory(mean)).has_value());
  CHECK(mean == high);
}

TEST_CASE("accumulator: the mean of equal updates is that update, whatever the weights") {
  Random random(106);
  for (int i = 0; i < 200; ++i) {
    Case c = make_case(random);
    std::vector<float>& values = c.updates[0].values;
    for (std::size_t t = 0; t < c.scales.size(); ++t) {
      for (std::uint64_t j = 0; j < c.layout.tensors()[t].count; ++j) {
        float& value = values[c.layout.tensors()[t].offset + j];
        // Only what the unit represents exactly.
        value = std::fabs(value) < std::ldexp(1.0F, c.scales[t] - 39) ? 0.0F : value;
      }
    }
    for (Update& update : c.updates) {
      update.values = values;
    }
    const std::vector<float> mean = mean_of(sum_of(c), c);
    REQUIRE(std::ranges::equal(mean, values));
  }
}

TEST_CASE("accumulator: the mean differs from a long double reference by at most one unit in the last place") {
  Random random(107);
  std::size_t compared = 0;
  for (int i = 0; i < 400; ++i) {
    const Case c = make_case(random);
    const std::vector<float> mean = mean_of(sum_of(c), c);
    for (std::size_t t = 0; t < c.scales.size(); ++t) {
      for (std::uint64_t j = 0; j < c.layout.tensors()[t].count; ++j) {
        const std::size_t at = c.layout.tensors()[t].offset + j;
        long double sum = 0;
        long double magnitude = 0;
        long double weight = 0;
        for (const Update& update : c.updates) {
          sum += static_cast<long double>(update.values[at]) * update.weight;
          magnitude += std::fabs(static_cast<long double>(update.values[at])) * update.weight;
          weight += update.weight;
        }
        const long double reference = sum / weight;
        const long double difference = std::fabs(reference - static_cast<long double>(mean[at]));
        const float size = std::fabs(static_cast<float>(reference));
        const long double last_place = static_cast<long double>(std::nextafter(size, INFINITY)) - size;
        // Below 2^(E-39) the absolute bound holds: half a unit of 2^(E-63), and the last rounding. The reference
        // itself is off where updates cancel.
        const long double unit = std::ldexp(1.0L, c.scales[t] - 63);
        const long double own_error = magnitude / weight * 0x1p-60L;
        const bool large = size > std::ldexp(1.0F, c.scales[t] - 39);
        const long double bound = large ? last_place : unit / 2 + last_place / 2;
        REQUIRE(difference <= bound + own_error);
        ++compared;
      }
    }
  }
  CHECK(compared > 10'000);
}

TEST_CASE("accumulator: the mean is the float nearest to the exact quotient") {
  // Values that are multiples of 2^-10 below 2^4 and small weights: sum and quotient fit into whole numbers.
  Random random(108);
  const Layout layout = Layout::create({{"x", {}, 0, 0}}).value();
  for (int i = 0; i < 5000; ++i) {
    Accumulator sum = Accumulator::create(layout, {4}).value();
    std::int64_t exact = 0;  // in units of 2^-10
    for (std::size_t j = 0; j < 1 + random() % 5; ++j) {
      const auto units = static_cast<std::int32_t>(random() % 32'767) - 16'383;
      const auto weight = static_cast<std::uint32_t>(1 + random() % 1000);
      REQUIRE(sum.add(0, std::vector<float>{static_cast<float>(units) * 0x1p-10F}, weight).has_value());
      sum.count(weight);
      exact += std::int64_t{units} * weight;
    }
    float mean = 0;
    REQUIRE(sum.mean(to_memory(std::span(&mean, 1))).has_value());
    // |exact / W - f| in units of 2^-10 / 2^40 / W, as whole numbers; every float of this size is one of 2^-50.
    __extension__ using Wide = __int128;
    const auto distance = [&](float f) {
      const Wide scaled = static_cast<Wide>(std::ldexp(static_cast<double>(f), 50));
      const Wide d = (static_cast<Wide>(exact) << 40) - scaled * static_cast<Wide>(sum.total_weight());
      return d < 0 ? -d : d;
    };
    const bool above = distance(mean) <= distance(std::nextafter(mean, INFINITY));
    const bool below = distance(mean) <= distance(std::nextafter(mean, -INFINITY));
    REQUIRE((mean == 0 || (above && below)));
  }
}

}  // namespace
}  // namespace flops::tensor
