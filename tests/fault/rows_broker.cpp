// The broker forgets everything: queued commands, sessions, retained messages.
#include "invariants.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

enum class End { stopped, killed };

Result<> forget_persistence(const Fleet& fleet) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fleet.coordinator_state() / "broker", error)) {
    if (entry.path().filename().string().starts_with("mosquitto.db")) {
      std::filesystem::remove(entry.path(), error);
    }
  }
  return error ? fail(errno_error(error.value(), "removing the broker's persistence")) : Result<>();
}

Result<> play_forgetting(Stage& stage, Fleet& fleet, const Moment& moment, End end) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, moment, [] {}); !seen) {
    return seen;
  }
  stage.struck("broker forgets");
  if (auto ended = end == End::killed ? fleet.coordinator().kill() : fleet.coordinator().stop(); !ended) {
    return ended;
  }
  check_dead_coordinator(stage, fleet);
  if (auto forgot = forget_persistence(fleet); !forgot) {
    return forgot;
  }
  if (auto started = fleet.coordinator().start(); !started) {
    return started;
  }
  return fleet.end_run();
}

}  // namespace

void add_broker_rows(std::vector<Scenario>& table) {
  const auto add = [&](const std::string& name, Moment moment, End end, bool in_short) {
    Scenario scenario;
    scenario.name = "forgetful-broker-" + name;
    scenario.strikes = fmt::format("broker restarted without its persistence, {}",
                                   end == End::killed ? "after kill -9" : "after SIGTERM");
    scenario.when = fmt::format("{}: {}", moment.program, fmt::join(moment.words, " "));
    scenario.setup = small_setup();
    scenario.in_short = in_short;
    scenario.play = [moment = std::move(moment), end](Stage& stage, Fleet& fleet) {
      return play_forgetting(stage, fleet, moment, end);
    };
    table.push_back(std::move(scenario));
  };
  add("initialising", {"coordinator", {"task run-1.i0.", "goes to"}}, End::stopped, false);
  add("task", {"coordinator", {"task run-1.r2.", "goes to"}}, End::killed, false);
  add("fetching", {"device-2", {".r2.", "-> fetching"}}, End::stopped, false);
  add("training", {"device-2", {".r2.", "-> running"}}, End::stopped, true);
  add("uploading", {"device-2", {".r2.", "-> uploading"}}, End::killed, true);
  add("aggregating", {"coordinator", {"the mean is stored"}}, End::stopped, false);
  add("evaluating", {"device-2", {".e3.", "-> running"}}, End::stopped, false);
}

}  // namespace flops::faults
