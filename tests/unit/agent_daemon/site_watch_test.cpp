#include <doctest/doctest.h>

#include <string>

#include "site_watch.hpp"

using namespace flops;
using namespace flops::agent;

namespace {

std::string devices(const std::string& list) {
  return R"({"devices":[)" + list + "]}";
}

std::string device(const std::string& datasets, const std::string& more = R"("state":"accepted")") {
  return R"({"id":"pi","online":false,)" + more + R"(,"datasets":[)" + datasets + "]}";
}

std::string dataset(const std::string& tag, const std::string& train, const std::string& test = "5") {
  return R"({"tag":")" + tag + R"(","train_samples":)" + train + R"(,"test_samples":)" + test + "}";
}

}  // namespace

TEST_CASE("site: the data of its devices is summed by tag, whether they are there or not") {
  const auto found = site_datasets(devices(device(dataset("mnist", "100") + "," + dataset("ecg", "7")) + "," +
                                           device("") + "," + device(dataset("mnist", "20", "1"))));
  REQUIRE_MESSAGE(found, (found ? "" : found.error().what));
  CHECK(*found == std::vector<wire::Dataset>{{"ecg", 7, 5}, {"mnist", 120, 6}});
  CHECK(site_datasets(devices(""))->empty());
}

TEST_CASE("site: devices that do not take part there do not count") {
  const auto found = site_datasets(devices(device(dataset("mnist", "100"), R"("state":"revoked")") + "," +
                                           device(dataset("mnist", "3"), R"("state":"accepted","role":"device")")));
  REQUIRE(found);
  CHECK(*found == std::vector<wire::Dataset>{{"mnist", 3, 5}});
}

TEST_CASE("site: what sites below it have, they train, and its own devices do not") {
  const auto below = [](const std::string& datasets) {
    return device(datasets, R"("state":"accepted","role":"cluster")");
  };
  const auto found = site_datasets(devices(below(dataset("mnist", "100")) + "," + device(dataset("mnist", "3")) + "," +
                                           below(dataset("mnist", "20") + "," + dataset("ecg", "0")) + "," +
                                           device(dataset("ecg", "4"))));
  REQUIRE(found);
  CHECK(*found == std::vector<wire::Dataset>{{"ecg", 4, 5}, {"mnist", 120, 10}});
}

TEST_CASE("site: counts that no message can hold end at what one can") {
  const std::string most = "9223372036854775807";
  const auto found = site_datasets(devices(device(dataset("m", most)) + "," + device(dataset("m", most))));
  REQUIRE(found);
  CHECK(found->front().train_samples == 9223372036854775807U);
}

TEST_CASE("site: an answer that is no list of devices is refused") {
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string(R"({"devices":{}})"),
                                  devices("7"), devices(R"({"state":"accepted"})"), devices(device("7")),
                                  devices(device(dataset("a b", "1"))), devices(device(dataset("m", "-1"))),
                                  devices(device(dataset("m", "1.5"))), devices(device(dataset("m", "null"))),
                                  devices(device(R"({"tag":"m","train_samples":1})")), std::string(100'000, '[')}) {
    CAPTURE(text.substr(0, 80));
    const auto found = site_datasets(text);
    REQUIRE_FALSE(found);
    CHECK(found.error().kind == ErrorKind::permanent);
  }
}

TEST_CASE("site: more tags than a hello may have are refused, and said") {
  std::string list;
  for (int n = 0; n <= 64; ++n) {
    list += (n == 0 ? "" : ",") + dataset("tag-" + std::to_string(n), "1");
  }
  const auto found = site_datasets(devices(device(list)));
  REQUIRE_FALSE(found);
  CHECK(found.error().what.find("65 data tags; at most 64") != std::string::npos);
}
