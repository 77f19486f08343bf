// A day without a network: what it costs a device that has nothing to do but to keep what it has and to try again.
#include <algorithm>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/core/file.hpp"
#include "leaping_clock.hpp"
#include "memory.hpp"

using namespace flops;
using namespace flops::test;
using namespace std::chrono_literals;

namespace {

constexpr auto warm_up = 10min;  // the back-off is at its end
constexpr auto day = 24h;
// A wait before an attempt is 30 s in the mean: 2,880 attempts, give or take 31. Each is one connection of
// libmosquitto's and one to find out why that failed.
constexpr std::uint64_t most_connects = std::uint64_t{2} * 3'100;
constexpr std::uint64_t least_connects = std::uint64_t{2} * 2'600;
// Two timers a minute, and an attempt's timer and outcomes.
constexpr std::uint64_t most_wakeups = 2 * 24 * 60 + 4 * 3'100;
constexpr std::int64_t most_lines = 3;
[[maybe_unused]] constexpr std::int64_t most_growth_kib = 512;

struct Cost {
  std::uint64_t wakeups = 0;
  std::uint64_t connects = 0;
  std::int64_t log_lines = 0;
  std::uintmax_t state_bytes = 0;
  Memory memory;
};

std::uintmax_t bytes_of(const std::filesystem::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  return bytes;
}

Cost cost_so_far(const Fleet& fleet, const LeapingClock& clock) {
  const std::string log = fleet.agent_log();
  return {clock.wakeups(), clock.connects(), std::count(log.begin(), log.end(), '\n'),
          bytes_of(fleet.folder() / "state"), memory_of(fleet.agent_pid())};
}

void wait_as_by_default(const Fleet& fleet) {
  std::string config = read_file(fleet.config_file()).value();
  const std::string line = "answer_timeout = \"2s\"\n";
  config.erase(config.find(line), line.size());
  REQUIRE(replace_file(fleet.config_file(), config));
}

// A task whose result has no answer yet.
wire::ResultMessage work(Fleet& fleet) {
  const std::vector<float> base = fake_initial(3);
  const EncodedModel model = encode_model(base);
  fleet.publish_blob(model);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = model.ref;
  fleet.command("task", task);
  return fleet.next<wire::ResultMessage>("result");
}

}  // namespace

TEST_CASE("agent: a day offline costs no memory, no disk, few attempts and hardly a line of log, and nothing is lost") {
  Fleet fleet;
  wait_as_by_default(fleet);
  LeapingClock clock(fleet.folder() / "clock");
  fleet.start_agent(clock.environment());
  (void)fleet.next<wire::Hello>("hello");
  const wire::ResultMessage offered = work(fleet);
  fleet.broker().stop();

  clock.leap_until(warm_up);
  REQUIRE(wait_until([&] { return clock.leapt() >= warm_up; }));
  const Cost before = cost_so_far(fleet, clock);
  clock.leap_until(warm_up + day);
  REQUIRE(wait_until([&] { return clock.leapt() >= warm_up + day; }, 4min));
  const Cost after = cost_so_far(fleet, clock);
  MESSAGE("in a day: ", after.wakeups - before.wakeups, " wake-ups, ", after.connects - before.connects,
          " connections tried, ", after.log_lines - before.log_lines, " lines of log; state folder ",
          before.state_bytes, " to ", after.state_bytes, " bytes; private memory ", before.memory.private_kib, " to ",
          after.memory.private_kib, " KiB, of it anonymous ", before.memory.anonymous_kib, " to ",
          after.memory.anonymous_kib, " KiB, resident ", after.memory.resident_kib, " KiB");
  CHECK(after.connects - before.connects <= most_connects);
  CHECK(after.connects - before.connects >= least_connects);
  CHECK(after.wakeups - before.wakeups <= most_wakeups);
  CHECK_MESSAGE(after.log_lines - before.log_lines <= most_lines, fleet.agent_log());
  CHECK(after.state_bytes <= before.state_bytes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(after.memory.anonymous_kib <= before.memory.anonymous_kib + most_growth_kib);
  CHECK(after.memory.private_kib <= max_private_kib);
  CHECK(after.memory.resident_kib <= max_resident_kib);
#endif

  fleet.broker().start();
  fleet.connect_coordinator();
  clock.leap_until(warm_up + day + 61s);  // the longest wait
  (void)fleet.next<wire::Hello>("hello");
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
}
