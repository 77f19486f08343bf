// What a kill leaves on a disk that fails: records that wait, files that cannot be read at the start, damaged
// databases.
#include <cerrno>
#include <fstream>

#include "disk.hpp"
#include "flops/test/failing_files.hpp"
#include "invariants.hpp"
#include "scenario.hpp"
#include "strike.hpp"

namespace flops::faults {
namespace {

using namespace std::chrono_literals;
using test::FailingFiles;

constexpr int device = 2;
constexpr int coordinator_megabytes = 64;
// Longer than the programs wait before they try again.
constexpr auto failing_for = 12s;

bool coordinator_shows_trouble(const Fleet& fleet) {
  auto answer = fleet.ask("status");
  return answer && !answer->at("health").as_array().empty();
}

Result<> end_well(Stage& stage, Fleet& fleet) {
  if (auto ended = fleet.end_run(); !ended) {
    return ended;
  }
  return stage.until_polled("the coordinator to be well", [&] { return !coordinator_shows_trouble(fleet); });
}

// The device has its receipt.
Moment accepted() {
  return {Fleet::device_name(device), {"task run-1.r2.", "uploading -> "}};
}

Result<> begin_all(Fleet& fleet) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  return fleet.begin_run();
}

Result<> kill_and_look(Stage& stage, Fleet& fleet) {
  if (auto dead = fleet.coordinator().kill(); !dead) {
    return dead;
  }
  check_dead_coordinator(stage, fleet);
  return {};
}

// What was decided and could not be recorded dies with the coordinator; nobody has been told of it.
Result<> play_full_and_killed(Stage& stage, Fleet& fleet, const Moment& moment) {
  const auto folder = fleet.coordinator_state();
  if (auto mounted = mount_small_disk(folder, coordinator_megabytes); !mounted) {
    return mounted;
  }
  if (auto begun = begin_all(fleet); !begun) {
    return begun;
  }
  Result<> filled;
  if (auto seen = at_moment(stage, moment, [&] { filled = fill_disk(folder); }); !seen) {
    return seen;
  }
  stage.struck("disk full");
  auto shown = stage.until_polled("the condition 'storage'", [&] {
    filled = filled ? fill_disk(folder) : filled;
    return !filled || coordinator_shows_trouble(fleet);
  });
  if (!shown || !filled) {
    return filled ? shown : filled;
  }
  stage.let_pass(failing_for / 4);  // for more to come that has to be recorded
  if (auto dead = kill_and_look(stage, fleet); !dead) {
    return dead;
  }
  if (auto emptied = empty_disk(folder); !emptied) {
    return emptied;
  }
  if (auto started = fleet.coordinator().start(); !started) {
    return started;
  }
  return end_well(stage, fleet);
}

// Killed in the middle of round 2, with an update that was accepted, and started on a disk that gives read errors.
// `words`: how it says so. `ends`: it cannot serve without these files, so whoever looks after it starts it again.
Result<> play_unreadable(Stage& stage, Fleet& fleet, const std::string& part, const std::vector<std::string>& words,
                         bool ends) {
  FailingFiles disk(stage.programs / "tests" / "libfailing_files.so", stage.folder / "disk");
  fleet.coordinator().command().environment = disk.environment();
  if (auto begun = begin_all(fleet); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, accepted(), [&] { fleet.coordinator().kill_now(); }); !seen) {
    return seen;
  }
  if (auto dead = kill_and_look(stage, fleet); !dead) {
    return dead;
  }
  disk.fail(FailingFiles::read, part, EIO);
  stage.struck("read errors");
  fleet.coordinator().may_end(ends);
  if (auto started = fleet.coordinator().start(); !started) {
    return started;
  }
  if (auto said = at_moment(stage, {"coordinator", words}, [] {}); !said) {
    return said;
  }
  if (!ends) {
    auto shown = stage.until_polled("the condition 'storage'", [&] { return coordinator_shows_trouble(fleet); });
    if (!shown) {
      return shown;
    }
  }
  stage.let_pass(failing_for);
  disk.work();
  auto ready = stage.until_polled("the coordinator to be ready", [&] { return fleet.ask("devices").has_value(); });
  fleet.coordinator().may_end(false);
  return ready ? end_well(stage, fleet) : ready;
}

// Half of the file, from its second page on.
Result<> damage(const std::filesystem::path& file) {
  constexpr std::size_t page = 4096;
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error || size < 4 * page) {
    return fail(ErrorKind::permanent, "{} is too small to be damaged", file.string());
  }
  std::fstream content(file, std::ios::in | std::ios::out | std::ios::binary);
  content.seekp(page);
  content << std::string(size / 2 / page * page, '\xa5');
  content.flush();
  return content ? Result<>() : fail(ErrorKind::permanent, "{} cannot be damaged", file.string());
}

// What the device had of its task is gone; it is given the task again, and its work counts once.
Result<> play_damaged(Stage& stage, Fleet& fleet, const std::string& file, const Moment& moment) {
  if (auto begun = begin_all(fleet); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, moment, [] {}); !seen) {
    return seen;
  }
  // Stopped properly, so that all is in the file and nothing in the log beside it.
  if (auto stopped = fleet.agent(device).stop(); !stopped) {
    return stopped;
  }
  if (auto damaged = damage(fleet.state_of(device) / file); !damaged) {
    return damaged;
  }
  stage.struck("damaged database");
  fleet.damaged.insert(device);
  if (auto started = fleet.agent(device).start(); !started) {
    return started;
  }
  if (auto said = at_moment(stage, {Fleet::device_name(device), {"both are set aside"}}, [] {}); !said) {
    return said;
  }
  return fleet.end_run();
}

// The coordinator says so and does not serve, until the file is put back from a copy.
Result<> play_damaged_records(Stage& stage, Fleet& fleet) {
  if (auto begun = begin_all(fleet); !begun) {
    return begun;
  }
  if (auto seen = at_moment(stage, accepted(), [] {}); !seen) {
    return seen;
  }
  if (auto stopped = fleet.coordinator().stop(); !stopped) {
    return stopped;
  }
  const auto records = fleet.coordinator_state() / "coordinator.db";
  const auto copy = stage.folder / "coordinator.db.copy";
  std::error_code error;
  if (!std::filesystem::copy_file(records, copy, error)) {
    return fail(ErrorKind::permanent, "{} cannot be copied: {}", records.string(), error.message());
  }
  if (auto damaged = damage(records); !damaged) {
    return damaged;
  }
  stage.struck("damaged database");
  fleet.coordinator().may_end(true);
  if (auto started = fleet.coordinator().start(); !started) {
    return started;
  }
  if (auto said = at_moment(stage, {"coordinator", {"records are damaged", "from a backup"}}, [] {}); !said) {
    return said;
  }
  std::filesystem::rename(copy, records, error);
  auto ready = stage.until_polled("the coordinator to be ready", [&] { return fleet.ask("devices").has_value(); });
  fleet.coordinator().may_end(false);
  return ready ? end_well(stage, fleet) : ready;
}

Scenario row(const std::string& name, const std::string& strikes, const Moment& moment) {
  Scenario scenario;
  scenario.name = name;
  scenario.strikes = strikes;
  scenario.when = fmt::format("{}: {}", moment.program, fmt::join(moment.words, " "));
  scenario.setup = small_setup();
  return scenario;
}

void add_killed_when_full(std::vector<Scenario>& table) {
  const std::pair<const char*, Moment> steps[] = {
      {"task", {"coordinator", {"task run-1.r2.", "goes to"}}},
      {"received", {"coordinator", {"task run-1.r2.", "all bytes are here"}}},
  };
  for (const auto& [name, moment] : steps) {
    Scenario scenario =
        row(fmt::format("disk-full-killed-{}", name), "coordinator's disk full, kill -9, space again", moment);
    scenario.sealed = true;
    scenario.expected_errors = {"disk is full", "No space left", "no room for", "cannot be recorded"};
    scenario.play = [moment](Stage& stage, Fleet& fleet) { return play_full_and_killed(stage, fleet, moment); };
    table.push_back(std::move(scenario));
  }
}

void add_unreadable(std::vector<Scenario>& table) {
  struct Kind {
    const char* name;
    const char* part;
    std::vector<std::string> words;
    bool ends;
    bool in_short;
  };
  const Kind kinds[] = {
      // Stored ones that are summed again or, when the round was over by then, new ones that are read after storing.
      {"updates", "/updates/objects/", {"update of", "Input/output error"}, false, true},
      {"models", "/models/", {"Input/output error"}, false, false},
      {"records", "coordinator.db", {"coordinator.db", "I/O error"}, true, false},
  };
  for (const Kind& kind : kinds) {
    Scenario scenario =
        row(fmt::format("unreadable-{}", kind.name), "kill -9 of the coordinator, then read errors", accepted());
    scenario.in_short = kind.in_short;
    scenario.expected_errors = {"Input/output error", "I/O error"};
    scenario.play = [kind](Stage& stage, Fleet& fleet) {
      return play_unreadable(stage, fleet, kind.part, kind.words, kind.ends);
    };
    table.push_back(std::move(scenario));
  }
}

void add_damaged(std::vector<Scenario>& table) {
  const Moment running{"device-2", {"task run-1.r2.", "-> running"}};
  const Moment offering{"device-2", {"task run-1.r2.", "-> offering"}};
  for (const auto& [name, file, moment] :
       {std::tuple("states-running", "agent.db", running), std::tuple("states-offering", "agent.db", offering),
        std::tuple("contents-running", "contents.db", running)}) {
    Scenario scenario = row(fmt::format("damaged-{}", name), fmt::format("{} of an agent overwritten", file), moment);
    scenario.in_short = moment.words == running.words && std::string_view(file) == "agent.db";
    scenario.expected_errors = {"both are set aside"};
    scenario.play = [file = std::string(file), moment](Stage& stage, Fleet& fleet) {
      return play_damaged(stage, fleet, file, moment);
    };
    table.push_back(std::move(scenario));
  }
  Scenario scenario = row("damaged-records", "coordinator.db overwritten, then put back", accepted());
  scenario.expected_errors = {"records are damaged"};
  scenario.play = play_damaged_records;
  table.push_back(std::move(scenario));
}

}  // namespace

void add_storage_rows(std::vector<Scenario>& table) {
  add_killed_when_full(table);
  add_unreadable(table);
  add_damaged(table);
}

}  // namespace flops::faults
