// A device whose clock is decades off: it says so, waits, and takes part once the clock is right, without a restart.
#include <algorithm>
#include <iterator>
#include <optional>

#include <boost/json.hpp>

#include "flops/core/file.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

constexpr int device = 2;

Result<std::filesystem::path> find_faketime() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib", error)) {
    const auto library = entry.path() / "faketime" / "libfaketimeMT.so.1";
    if (std::filesystem::exists(library, error)) {
      return library;
    }
  }
  return fail(ErrorKind::permanent, "libfaketime is missing (package libfaketime)");
}

// What `flops-agent status` says while the clock is wrong.
Result<> expect_status(Stage& stage, const Program& agent, const std::string& condition) {
  std::vector<std::string> arguments;
  for (const auto& [name, value] : agent.command().environment) {
    arguments.push_back(fmt::format("{}={}", name, value));
  }
  arguments.push_back(agent.command().program.string());
  std::ranges::transform(agent.command().arguments, std::back_inserter(arguments),
                         [](const std::string& word) { return word == "run" ? "status" : word; });
  if (auto asked = run_tool(stage, "env", std::move(arguments)); !asked) {
    return asked;
  }
  auto said = read_file(stage.folder / "tool.out");
  if (!said || !said->contains("health       " + condition)) {
    return fail(ErrorKind::permanent, "flops-agent status does not show the condition '{}': {}", condition,
                said.value_or(""));
  }
  return {};
}

// The clock shows `time` until it is set to what it is.
Result<> set_clock(const std::filesystem::path& file, const std::string& time) {
  return replace_file(file, time + "\n");
}

// Enrolling waits for the clock as well. Its clock is right afterwards.
Result<> enrol_with_wrong_clock(Stage& stage, Fleet& fleet, const std::filesystem::path& clock) {
  auto api = CoordinatorApi::of(fleet.coordinator_state());
  auto token = api ? api->post("tokens", {{"uses", 1}, {"expires_seconds", 3600}})
                   : Result<boost::json::object>(fail(api.error()));
  if (!token) {
    return fail(token.error(), "making an enrolment token");
  }
  process::Command command = fleet.agent(device).command();
  command.log_file = stage.log_of("enroll");
  command.arguments.front() = "enroll";
  command.arguments.insert(command.arguments.end(),
                           {"--coordinator", api->address(), "--token", token->at("token").as_string().c_str()});
  std::optional<process::Exit> exit;
  auto child = process::Child::spawn(stage.loop.get_executor(), command, [&](process::Exit how) { exit = how; });
  if (!child) {
    return fail(child.error());
  }
  if (auto waits = at_moment(stage, {"enroll", {"is the time set", "waiting until it is right"}}, [] {}); !waits) {
    return waits;
  }
  if (auto set = set_clock(clock, "+0"); !set) {
    return set;
  }
  auto ended = stage.until("flops-agent enroll to end", [&] { return exit.has_value(); });
  if (ended && (exit->signalled || exit->code != 0)) {
    return fail(ErrorKind::permanent, "flops-agent enroll {}", exit->describe());
  }
  return ended;
}

Result<> play_clock(Stage& stage, Fleet& fleet, const std::string& time) {
  auto faketime = find_faketime();
  if (!faketime) {
    return fail(faketime.error());
  }
  fleet.plan.absent = {device};
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  fleet.plan.absent.clear();  // it is to take part in every round
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  Program& agent = fleet.agent(device);
  const auto clock = stage.folder / "clock";
  if (auto set = set_clock(clock, "@" + time); !set) {
    return set;
  }
  agent.command().environment = {{"LD_PRELOAD", faketime->string()},
                                 {"FAKETIME_TIMESTAMP_FILE", clock.string()},
                                 {"FAKETIME_CACHE_DURATION", "1"},
                                 {"FAKETIME_DONT_FAKE_MONOTONIC", "1"}};
  stage.struck("clock");
  if (auto enrolled = enrol_with_wrong_clock(stage, fleet, clock); !enrolled) {
    return enrolled;
  }
  if (auto set = set_clock(clock, "@" + time); !set) {
    return set;
  }
  if (auto started = agent.start(); !started) {
    return started;
  }
  const std::string name = Fleet::device_name(device);
  if (auto said = at_moment(stage, {name, {"health: clock", "is the time set"}}, [] {}); !said) {
    return fail(said.error(), "the log does not say that the clock is wrong");
  }
  if (auto shown = expect_status(stage, agent, "clock"); !shown) {
    return shown;
  }
  if (auto set = set_clock(clock, "+0"); !set) {
    return set;
  }
  if (auto cleared = at_moment(stage, {name, {"health: clock: all is well again"}}, [] {}); !cleared) {
    return cleared;
  }
  return fleet.end_run();
}

}  // namespace

void add_clock_rows(std::vector<Scenario>& table) {
  for (const auto& [name, time] :
       {std::pair("1970", "1970-01-02 00:00:00"), std::pair("2040", "2040-01-01 00:00:00")}) {
    Scenario scenario;
    scenario.name = fmt::format("clock-{}", name);
    scenario.strikes = fmt::format("one device's clock says {}", name);
    scenario.when = "from its start until it was reported";
    scenario.setup = small_setup();
    scenario.in_short = true;
    scenario.expected_errors = {"clock"};
    scenario.play = [time = std::string(time)](Stage& stage, Fleet& fleet) { return play_clock(stage, fleet, time); };
    table.push_back(std::move(scenario));
  }
}

}  // namespace flops::faults
