// flops-faults: kills, cuts, fills and confuses a fleet of the real programs, and checks that nothing is lost.
// scripts/faults.sh builds and starts it.
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>

#include <CLI/CLI.hpp>

#include "flops/core/log.hpp"
#include "row.hpp"
#include "schedule.hpp"

namespace {

using namespace flops::faults;

struct Arguments {
  std::string only;
  std::string play;
  bool list = false;
  bool short_form = false;
  ScheduleOptions schedule;
  RowOptions row;
};

void print_list(const std::vector<Scenario>& table) {
  for (const Scenario& row : table) {
    fmt::print("{:<32} {:<38} {}{}{}\n", row.name, row.strikes, row.when, row.in_short ? " [short]" : "",
               row.sealed ? " [root]" : "");
  }
}

int play_one(const std::vector<Scenario>& table, const Arguments& arguments) {
  const auto row = std::ranges::find(table, arguments.play, &Scenario::name);
  if (row == table.end()) {
    fmt::print(stderr, "flops-faults: there is no row '{}'\n", arguments.play);
    return 2;
  }
  flops::log::start("flops-faults", flops::log::Level::info);
  auto outcome = play_row(*row, arguments.row);
  if (!outcome) {
    fmt::print(stderr, "flops-faults: {}: {}\n", row->name, outcome.error().what);
    return 1;
  }
  return outcome->problems.empty() ? 0 : 1;
}

int play_table(const std::vector<Scenario>& table, const Arguments& arguments) {
  std::vector<Scenario> rows;
  std::set<std::string> setups;
  for (const Scenario& row : table) {
    const bool wanted = arguments.only.empty()
                            ? (row.in_short || !arguments.short_form) && !row.name.starts_with("undisturbed-")
                            : row.name.contains(arguments.only);
    if (wanted) {
      rows.push_back(row);
      setups.insert(row.compare ? row.setup.name : "");
    }
  }
  if (rows.empty()) {
    fmt::print(stderr, "flops-faults: no row is called like '{}'; --list shows them\n", arguments.only);
    return 2;
  }
  std::vector<Scenario> references;
  for (const Scenario& row : table) {
    if (row.name.starts_with("undisturbed-") && setups.contains(row.setup.name)) {
      references.push_back(row);
    }
  }
  std::erase_if(rows, [](const Scenario& row) { return row.name.starts_with("undisturbed-"); });
  auto passed = play_all(rows, references, arguments.schedule);
  if (!passed) {
    fmt::print(stderr, "flops-faults: {}\n", passed.error().what);
    return 1;
  }
  return *passed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Faults for a fleet of the real programs: whatever dies, nothing is lost.", "flops-faults");
  app.add_option("--folder", arguments.schedule.folder, "Where the rows' folders are made")->required();
  app.add_option("--programs", arguments.schedule.programs, "Folder of the programs")->required();
  app.add_option("--seed", arguments.schedule.seed, "Of everything random");
  app.add_option("--minutes", arguments.schedule.minutes, "Repeat with other seeds for so long; 0: every row once");
  app.add_option("--jobs", arguments.schedule.jobs, "Rows at once")->check(CLI::Range(1, 16));
  app.add_option("--only", arguments.only, "Rows whose name contains this");
  app.add_flag("--list", arguments.list, "Print the rows and exit");
  app.add_flag("--short", arguments.short_form, "Only the rows of the short form");
  // How a row is started; not for people.
  app.add_option("--play", arguments.play)->group("");
  app.add_option("--reference", arguments.row.reference)->group("");
  app.add_flag("--sealed", arguments.row.sealed)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const std::vector<Scenario> table = all_scenarios();
  if (arguments.list) {
    print_list(table);
    return 0;
  }
  if (!arguments.play.empty()) {
    arguments.row.folder = arguments.schedule.folder;
    arguments.row.programs = arguments.schedule.programs;
    arguments.row.seed = arguments.schedule.seed;
    return play_one(table, arguments);
  }
  return play_table(table, arguments);
}
