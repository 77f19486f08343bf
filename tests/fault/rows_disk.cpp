// Disks that are full or read-only in the middle of the work: the condition `storage` is shown, and goes.
#include <algorithm>

#include <boost/json.hpp>

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

// As the coordinator's API shows it.
bool shows_condition(const Fleet& fleet, Owner owner, std::string_view name = "storage") {
  auto answer = fleet.ask(owner == Owner::agent ? "devices/" + Fleet::device_name(device) : "status");
  if (!answer) {
    return false;
  }
  const auto& health = answer->at("health").as_array();
  return std::ranges::any_of(
      health, [&](const boost::json::value& condition) { return condition.at("name").as_string() == name; });
}

Result<> end_well(Stage& stage, Fleet& fleet, Owner owner) {
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  return stage.until_polled("the condition 'storage' to go", [&] { return !shows_condition(fleet, owner); });
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

// Until the condition is shown, and then for a while longer.
Result<> keep_full_and_look(Stage& stage, const Fleet& fleet, Owner owner, const std::filesystem::path& folder) {
  Result<> filled;
  auto shown = stage.until_polled("the condition 'storage'", [&] {
    filled = filled ? fill_disk(folder) : filled;
    return !filled || shows_condition(fleet, owner);
  });
  return shown && filled ? keep_full(stage, folder) : (filled ? shown : filled);
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
  // Elsewhere there may be nothing to write, or room for it in the files there are.
  const bool writes = moment.words.back() == "-> running" || moment.words.back() == "offers";
  auto kept = writes ? keep_full_and_look(stage, fleet, owner, folder) : keep_full(stage, folder);
  if (!kept) {
    return kept;
  }
  return end_well(stage, fleet, owner);
}

// Full before the first task comes.
Result<> play_no_room(Stage& stage, Fleet& fleet, Owner owner, const Moment& moment) {
  const auto folder = folder_of(fleet, owner);
  if (auto mounted = mount_small_disk(folder, agent_megabytes); !mounted) {
    return mounted;
  }
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto filled = fill_disk(folder); !filled) {
    return filled;
  }
  stage.struck("no room");
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, moment, [] {}); !seen) {
    return seen;
  }
  auto shown = stage.until_polled("the condition 'room'", [&] { return shows_condition(fleet, owner, "room"); });
  if (!shown) {
    return shown;
  }
  if (auto emptied = empty_disk(folder); !emptied) {
    return emptied;
  }
  if (auto ended = end_well(stage, fleet, owner); !ended) {
    return ended;
  }
  return stage.until_polled("the condition 'room' to go", [&] { return !shows_condition(fleet, owner, "room"); });
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
  auto shown = stage.until_polled("the condition 'storage'", [&] { return shows_condition(fleet, owner); });
  if (!shown) {
    return shown;
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
  return end_well(stage, fleet, owner);
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
  add_row(table, "full", play_no_room, Owner::agent, "before", {"device-2", {"health: room", "no room for a task"}},
          true);
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
