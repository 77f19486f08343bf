// A whole fleet loses its broker, then its coordinator (SIGKILL), and comes back at once: how many are back, whether
// any was turned away, how long it took, how full the coordinator's inbox got and how large the coordinator. Real
// coordinator, real Mosquitto with TLS, really enrolled devices with the agent's own link, all in one process. JSON,
// one object a line.
//
//   bench_reconnect [devices (200)]
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "flops/core/log.hpp"
#include "simulation.hpp"

namespace {

using namespace flops;

int give_up(std::string_view what) {
  fmt::print(stderr, "bench_reconnect: {}\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t devices = 200;
  if (argc > 1) {
    const auto [end, problem] = std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), devices);
    if (problem != std::errc() || *end != '\0' || devices == 0 || devices > 900) {
      return give_up("devices: 1 to 900");
    }
  }
  log::start("bench_reconnect", log::Level::error);
  const std::filesystem::path programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  auto simulation = test::Simulation::start(programs, devices);
  if (!simulation) {
    return give_up(simulation.error().what);
  }
  for (const test::Strike strike : {test::Strike::broker, test::Strike::coordinator}) {
    const auto figures = (*simulation)->strike(strike);
    if (!figures) {
      return give_up(figures.error().what);
    }
    fmt::print("{}\n", boost::json::serialize(test::to_json(*figures)));
  }
  return 0;
}
