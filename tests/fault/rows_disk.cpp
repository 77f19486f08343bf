// Disks that are full or read-only in the middle of the work.
#include "disk.hpp"
#include "invariants.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

using namespace std::chrono_literals;

enum class Owner { agent, coordinator };
constexpr int device = 2;
// Room for the models, updates and logs of a run, with a little to spare.
constexpr int agent_megabytes = 48;
constexpr int coordinator_megabytes = 64;
// Longer than any retry of the programs waits.
constexpr auto full_for = 12s;
constexpr auto refill_every = 100ms;

std::filesystem::path folder_of(const Fleet& fleet, Owner owner) {
  return owner == Owner::agent ? fleet.state_of(device) : fleet.coordinator_state();
}

// Whatever the programs give back meanwhile is taken too.
Result<> keep_full(Stage& stage, const std::filesystem::path& folder) {
  const auto end = std::chrono::steady_clock::now() + full_for;
  while (std::chrono::steady_clock::now() < end) {
    if (auto filled = fill_disk(folder); !filled) {
      return filled;
    }
    stage.let_pass(refill_every);
  }
  return empty_disk(folder);
}

Result<> play_full(Stage& stage, Fleet& fleet, Owner owner, const Moment& moment) {
  const auto folder = folder_of(fleet, owner);
  if (auto mounted = mount_small_disk(folder, owner == Owner::agent ? agent_megabytes : coordinator_megabytes);
      !mounted) {
    return mounted;
  }
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  Result<> filled;
  if (auto seen = at_moment(stage, moment, [&] { filled = fill_disk(folder); }); !seen || !filled) {
    return seen ? filled : seen;
  }
  stage.struck("disk full");
  if (auto kept = keep_full(stage, folder); !kept) {
    return kept;
  }
  return fleet.end_run();
}

Result<> play_read_only(Stage& stage, Fleet& fleet, Owner owner, const Moment& moment) {
  const auto folder = folder_of(fleet, owner);
  if (auto mounted = mount_image(stage, folder, coordinator_megabytes); !mounted) {
    return mounted;
  }
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, moment, [] {}); !seen) {
    return seen;
  }
  stage.struck("disk read-only");
  Program& program = owner == Owner::agent ? fleet.agent(device) : fleet.coordinator();
  // It may give up or hold out; which of both is not for this row to say.
  program.may_end(true);
  if (auto aborted = abort_image(stage, folder); !aborted) {
    return aborted;
  }
  stage.let_pass(full_for / 2);
  if (auto ended = program.kill(); !ended) {
    return ended;
  }
  if (auto repaired = repair_image(stage, folder); !repaired) {
    return repaired;
  }
  program.may_end(false);
  if (auto started = program.start(); !started) {
    return started;
  }
  return fleet.end_run();
}

using Play = Result<> (*)(Stage&, Fleet&, Owner, const Moment&);

void add_row(std::vector<Scenario>& table, const std::string& kind, Play play, Owner owner, const std::string& phase,
             Moment moment, bool in_short) {
  Scenario scenario;
  const std::string whose = owner == Owner::agent ? "agent" : "coordinator";
  scenario.name = fmt::format("disk-{}-{}-{}", kind, whose, phase);
  scenario.strikes = fmt::format("{}'s disk {} for {} s", whose, kind, full_for.count());
  scenario.when = fmt::format("{}: {}", moment.program, fmt::join(moment.words, " "));
  scenario.setup = small_setup();
  scenario.in_short = in_short;
  scenario.sealed = true;
  scenario.expected_errors = {"disk is full", "No space left",  "Read-only",   "read-only",
                              "readonly",     "disk I/O error", "no room for", "cannot be recorded"};
  scenario.play = [=](Stage& stage, Fleet& fleet) { return play(stage, fleet, owner, moment); };
  table.push_back(std::move(scenario));
}

}  // namespace

void add_disk_rows(std::vector<Scenario>& table) {
  for (const auto& [phase, in_short] :
       {std::pair("fetching", false), std::pair("assembling", false), std::pair("running", true),
        std::pair("encoding", false), std::pair("uploading", false)}) {
    add_row(table, "full", play_full, Owner::agent, phase, {"device-2", {".r2.", std::string("-> ") + phase}},
            in_short);
  }
  const std::pair<const char*, Moment> steps[] = {
      {"initialising", {"coordinator", {"task run-1.i0.", "goes to"}}},
      {"task", {"coordinator", {"task run-1.r2.", "goes to"}}},
      {"offer", {"coordinator", {"task run-1.r2.", "offers"}}},
      {"received", {"coordinator", {"task run-1.r2.", "all bytes are here"}}},
      {"summed", {"coordinator", {"task run-1.r2.", "durable and summed"}}},
      {"aggregating", {"coordinator", {"the mean is stored"}}},
  };
  for (const auto& [name, moment] : steps) {
    add_row(table, "full", play_full, Owner::coordinator, name, moment, std::string_view(name) == "offer");
  }
  add_row(table, "readonly", play_read_only, Owner::agent, "running", {"device-2", {".r2.", "-> running"}}, false);
  add_row(table, "readonly", play_read_only, Owner::agent, "uploading", {"device-2", {".r2.", "-> uploading"}}, false);
  add_row(table, "readonly", play_read_only, Owner::coordinator, "offer", {"coordinator", {"task run-1.r2.", "offers"}},
          false);
  add_row(table, "readonly", play_read_only, Owner::coordinator, "aggregating", {"coordinator", {"the mean is stored"}},
          false);
}

}  // namespace flops::faults
