// A fleet that loses its broker or its coordinator comes back, all of it, and nobody is turned away.
#include <doctest/doctest.h>

#include <cstdlib>

#include <boost/json.hpp>

#include "simulation.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr std::size_t fleet_size = 20;

void check_all_back(const Figures& figures) {
  MESSAGE(boost::json::serialize(to_json(figures)));
  CHECK(figures.back == fleet_size);
  CHECK(figures.known_back == fleet_size);
  CHECK(figures.refused == 0);
  CHECK(figures.losses_again == 0);
  CHECK(figures.window_seconds == 1);
  CHECK(figures.inbox_peak_messages > 0);
  CHECK(figures.inbox_peak_bytes > 0);
  CHECK(figures.inbox_peak_bytes <= figures.inbox_limit_bytes);
}

}  // namespace

TEST_CASE("reconnect: a fleet comes back after its broker and after its coordinator, all of it, none refused") {
  auto simulation = Simulation::start(std::getenv("FLOPS_BIN"), fleet_size);
  REQUIRE_MESSAGE(simulation.has_value(), simulation.error().what);
  const auto status = (*simulation)->status();
  REQUIRE(status.has_value());
  CHECK(status->at("devices").to_number<std::size_t>() == fleet_size);
  CHECK(status->at("reconnect_window_seconds").to_number<int>() == 1);

  const auto after_broker = (*simulation)->strike(Strike::broker);
  REQUIRE_MESSAGE(after_broker.has_value(), after_broker.error().what);
  check_all_back(*after_broker);
  const auto after_coordinator = (*simulation)->strike(Strike::coordinator);
  REQUIRE_MESSAGE(after_coordinator.has_value(), after_coordinator.error().what);
  check_all_back(*after_coordinator);
}
