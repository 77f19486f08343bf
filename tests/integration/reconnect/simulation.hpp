// A real coordinator with its own broker, and a fleet of simulated devices in this process that lose one of the two and
// come back. tests/integration/reconnect asserts, bench/reconnect reports.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>

#include "../../fault/coordinator_api.hpp"
#include "flops/core/error.hpp"
#include "flops/process/child.hpp"
#include "flops/test/temporary_folder.hpp"
#include "simulated_device.hpp"

namespace flops::test {

enum class Strike { broker, coordinator };  // SIGKILL; the broker dies with the coordinator that runs it

struct Figures {
  Strike strike = Strike::broker;
  std::size_t devices = 0;
  std::size_t back = 0;             // state and hello acknowledged
  std::size_t known_back = 0;       // the coordinator has recorded this hello
  std::uint64_t failed = 0;         // attempts while nobody listened
  std::uint64_t refused = 0;        // attempts that failed although the broker was letting others in
  std::uint64_t losses_again = 0;   // links that ended once more
  std::int64_t window_seconds = 0;  // as the devices had heard it before
  double first_back_seconds = 0;    // since the strike
  double last_back_seconds = 0;
  double last_known_seconds = 0;
  std::size_t busiest_second = 0;  // the most links within any second
  std::uint64_t inbox_peak_messages = 0;
  std::uint64_t inbox_peak_bytes = 0;
  std::uint64_t inbox_limit_bytes = 0;
  std::uint64_t inbox_waits = 0;
  std::int64_t coordinator_resident_kib = 0;
  std::int64_t coordinator_peak_kib = 0;
};
[[nodiscard]] boost::json::object to_json(const Figures& figures);

class Simulation {
 public:
  // Started, all devices enrolled, connected and known to the coordinator. `programs`: the folder of flops-coordinator.
  [[nodiscard]] static Result<std::unique_ptr<Simulation>> start(const std::filesystem::path& programs,
                                                                 std::size_t devices);
  ~Simulation() = default;
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // transient: not all were back in time; `figures` of what there was are in the error's text.
  [[nodiscard]] Result<Figures> strike(Strike strike);
  [[nodiscard]] Result<boost::json::object> status() const { return api_->get("status"); }
  [[nodiscard]] std::string coordinator_log() const;

 private:
  explicit Simulation(std::filesystem::path programs) : programs_(std::move(programs)) {}
  [[nodiscard]] Result<> start_coordinator();
  [[nodiscard]] Result<> kill_coordinator();
  [[nodiscard]] Result<> kill_broker();
  [[nodiscard]] Result<> enrol(std::size_t devices);
  [[nodiscard]] Result<> until(const char* what, const std::function<bool()>& condition);
  [[nodiscard]] std::size_t known_back() const;
  [[nodiscard]] bool all_back() const;
  [[nodiscard]] Figures measure(Strike strike, std::chrono::steady_clock::time_point struck) const;

  const std::filesystem::path programs_;
  TemporaryFolder folder_;
  boost::asio::io_context loop_{1};
  std::unique_ptr<process::Child> coordinator_;
  std::optional<process::Exit> exit_;
  std::optional<faults::CoordinatorApi> api_;
  std::vector<std::unique_ptr<SimulatedDevice>> devices_;
  std::uint64_t generation_ = 0;
  bool serving_ = false;
};

}  // namespace flops::test
