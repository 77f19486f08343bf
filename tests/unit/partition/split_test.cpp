#include "flops/partition/split.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <doctest/doctest.h>

namespace flops::partition {
namespace {

// `per_class` samples of each of `classes` labels, interleaved.
std::vector<std::uint8_t> labels(std::size_t classes, std::size_t per_class) {
  std::vector<std::uint8_t> out;
  out.reserve(classes * per_class);
  for (std::size_t i = 0; i < classes * per_class; ++i) {
    out.push_back(static_cast<std::uint8_t>(i % classes));
  }
  return out;
}

Split must_split(const std::vector<std::uint8_t>& train, const std::vector<std::uint8_t>& test, const char* scheme,
                 std::uint32_t devices, std::uint64_t seed = 1) {
  const auto parsed = Scheme::parse(scheme);
  REQUIRE(parsed);
  auto result = split(train, test, *parsed, devices, seed);
  REQUIRE(result);
  return *result;
}

void check_complete(const Assignment& assignment, std::size_t samples, std::size_t devices) {
  CHECK(assignment.size() == devices);
  std::vector<std::uint32_t> all;
  for (const auto& mine : assignment) {
    CHECK_FALSE(mine.empty());
    CHECK(std::ranges::is_sorted(mine));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::ranges::sort(all);
  std::vector<std::uint32_t> expected(samples);
  std::iota(expected.begin(), expected.end(), 0U);
  CHECK(all == expected);
}

std::vector<double> proportions(const std::vector<std::uint32_t>& mine, const std::vector<std::uint8_t>& of,
                                std::size_t classes) {
  std::vector<double> out(classes, 0);
  for (const std::uint32_t index : mine) {
    out[of[index]] += 1.0 / static_cast<double>(mine.size());
  }
  return out;
}

// Mean over devices of the total variation distance between the device's classes and the uniform ones.
double skew(const Assignment& assignment, const std::vector<std::uint8_t>& of, std::size_t classes) {
  double sum = 0;
  for (const auto& mine : assignment) {
    for (const double share : proportions(mine, of, classes)) {
      sum += std::abs(share - 1.0 / static_cast<double>(classes)) / 2;
    }
  }
  return sum / static_cast<double>(assignment.size());
}

TEST_CASE("split: every sample goes to exactly one device and no device is empty") {
  struct Row {
    const char* scheme;
    std::uint32_t devices;
  };
  for (const Row& row : {Row{"iid", 1}, Row{"iid", 7}, Row{"iid", 200}, Row{"dirichlet:0.001", 200},
                         Row{"dirichlet:0.3", 5}, Row{"dirichlet:1e6", 9}, Row{"shards:2", 5}, Row{"shards:3", 101},
                         Row{"shards:10", 1}, Row{"powerlaw:2", 9}, Row{"powerlaw:2", 50}, Row{"powerlaw:10", 1}}) {
    CAPTURE(row.scheme);
    CAPTURE(row.devices);
    const auto train = labels(10, 60);
    const auto test = labels(10, 20);
    const Split result = must_split(train, test, row.scheme, row.devices);
    check_complete(result.train, train.size(), row.devices);
    check_complete(result.test, test.size(), row.devices);
  }
}

TEST_CASE("split: equal seeds give equal splits, others do not") {
  const auto train = labels(10, 100);
  const auto test = labels(10, 20);
  for (const char* scheme : {"iid", "dirichlet:0.5", "shards:2", "powerlaw:5"}) {
    CAPTURE(scheme);
    const Split one = must_split(train, test, scheme, 8, 42);
    const Split same = must_split(train, test, scheme, 8, 42);
    const Split other = must_split(train, test, scheme, 8, 43);
    CHECK(one.train == same.train);
    CHECK(one.test == same.test);
    CHECK(one.train != other.train);
    CHECK(one.test != other.test);
  }
}

TEST_CASE("split: a split of a seed is the same on every machine") {
  const Split result = must_split(labels(10, 600), labels(10, 100), "dirichlet:0.3", 5, 1);
  std::vector<std::size_t> sizes;
  std::ranges::transform(result.train, std::back_inserter(sizes), &std::vector<std::uint32_t>::size);
  CHECK(sizes == std::vector<std::size_t>{2270, 961, 1059, 792, 918});
  CHECK(std::vector<std::uint32_t>(result.train[1].begin(), result.train[1].begin() + 5) ==
        std::vector<std::uint32_t>{0, 4, 5, 7, 11});
}

TEST_CASE("split: iid devices have equal numbers of samples") {
  const Split result = must_split(labels(10, 103), labels(10, 21), "iid", 7);
  for (const auto& mine : result.train) {
    CHECK(mine.size() >= 147);
    CHECK(mine.size() <= 148);
  }
  for (const auto& mine : result.test) {
    CHECK(mine.size() == 30);
  }
}

TEST_CASE("split: a larger alpha makes classes more even") {
  const auto train = labels(10, 600);
  const auto test = labels(10, 100);
  const auto skew_of = [&](const char* scheme) { return skew(must_split(train, test, scheme, 20).train, train, 10); };
  const double strong = skew_of("dirichlet:0.1");
  const double medium = skew_of("dirichlet:1");
  const double weak = skew_of("dirichlet:100");
  CHECK(strong > medium + 0.1);
  CHECK(medium > weak + 0.1);
  CHECK(weak < 0.1);
}

TEST_CASE("split: shards give a device at most K classes") {
  for (const char* scheme : {"shards:1", "shards:2", "shards:3"}) {
    CAPTURE(scheme);
    const auto train = labels(10, 333);
    const auto test = labels(10, 50);
    const Split result = must_split(train, test, scheme, 13);
    const std::size_t most = static_cast<std::size_t>(scheme[7] - '0');
    for (const auto& mine : result.train) {
      std::set<std::uint8_t> classes;
      for (const std::uint32_t index : mine) {
        classes.insert(train[index]);
      }
      CHECK(classes.size() <= most);
    }
  }
}

TEST_CASE("split: a power law gives a device K classes, and sizes that differ by far") {
  const auto train = labels(10, 2000);
  const Split result = must_split(train, labels(10, 200), "powerlaw:2", 100);
  std::size_t smallest = train.size();
  std::size_t largest = 0;
  for (std::size_t d = 0; d < result.train.size(); ++d) {
    std::set<int> classes;
    for (const std::uint32_t index : result.train[d]) {
      classes.insert(train[index]);
    }
    CHECK(classes == std::set<int>{static_cast<int>(d % 10), static_cast<int>((d + 1) % 10)});
    smallest = std::min(smallest, result.train[d].size());
    largest = std::max(largest, result.train[d].size());
  }
  CHECK(smallest >= 10);
  CHECK(largest > 20 * smallest);
}

TEST_CASE("split: the test split has the class proportions of the train split") {
  const auto train = labels(10, 6000);
  const auto test = labels(10, 1000);
  for (const char* scheme : {"dirichlet:0.3", "dirichlet:5", "shards:2"}) {
    CAPTURE(scheme);
    const Split result = must_split(train, test, scheme, 6);
    for (std::size_t d = 0; d < result.train.size(); ++d) {
      const auto of_train = proportions(result.train[d], train, 10);
      const auto of_test = proportions(result.test[d], test, 10);
      for (std::size_t c = 0; c < 10; ++c) {
        CHECK(std::abs(of_train[c] - of_test[c]) < 0.01);
      }
    }
  }
}

TEST_CASE("split: classes that only the test split has are still dealt out") {
  const auto train = labels(3, 100);
  const auto test = labels(5, 20);
  const Split result = must_split(train, test, "dirichlet:0.5", 4);
  check_complete(result.test, test.size(), 4);
}

TEST_CASE("split: what cannot be split is refused with what to do") {
  struct Row {
    const char* scheme;
    std::uint32_t devices;
    const char* message;
  };
  for (const Row& row : {Row{"iid", 0, "0 devices"}, Row{"iid", 101, "use fewer devices"},
                         Row{"shards:2", 2, "use shards:5 or more devices"}, Row{"shards:1000", 5, "use fewer"},
                         Row{"iid", 4'000'000'000U, "1 to 10000"}}) {
    SUBCASE(row.message) {
      const auto scheme = Scheme::parse(row.scheme);
      REQUIRE(scheme);
      const auto result = split(labels(10, 50), labels(10, 10), *scheme, row.devices, 1);
      REQUIRE_FALSE(result);
      CHECK(result.error().kind == ErrorKind::permanent);
      CHECK(result.error().what.find(row.message) != std::string::npos);
    }
  }
}

TEST_CASE("scheme: what it says is what was parsed") {
  for (const char* text : {"iid", "dirichlet:0.3", "dirichlet:100", "shards:2", "powerlaw:3"}) {
    const auto scheme = Scheme::parse(text);
    REQUIRE(scheme);
    CHECK(scheme->text() == text);
  }
}

TEST_CASE("scheme: malformed text is refused") {
  for (const char* text : {"", "IID", "iid:1", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1",
                           "dirichlet:nan", "dirichlet:inf", "dirichlet:0.3x", "shards", "shards:0", "shards:1001",
                           "shards:2.5", "shards:-1", "shards: 2", "powerlaw:0", "powerlaw", "other:1"}) {
    CAPTURE(text);
    const auto scheme = Scheme::parse(text);
    REQUIRE_FALSE(scheme);
    CHECK(scheme.error().what.find("dirichlet:A") != std::string::npos);
  }
}

}  // namespace
}  // namespace flops::partition
