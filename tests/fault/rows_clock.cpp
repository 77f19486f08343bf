// A device whose clock is decades off: it says so, waits, and takes part once the clock is right.
#include <fstream>

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
  agent.command().environment = {
      {"LD_PRELOAD", faketime->string()}, {"FAKETIME", "@" + time}, {"FAKETIME_DONT_FAKE_MONOTONIC", "1"}};
  stage.struck("clock");
  if (auto started = agent.start(); !started) {
    return started;
  }
  // The line that tells a person what is wrong.
  if (auto said = at_moment(stage, {Fleet::device_name(device), {"clock"}}, [] {}); !said) {
    return fail(said.error(), "the log does not mention the clock");
  }
  if (auto stopped = agent.stop(); !stopped) {
    return stopped;
  }
  agent.command().environment.clear();
  if (auto started = agent.start(); !started) {
    return started;
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
