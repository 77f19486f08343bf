#include "scenario.hpp"

namespace flops::faults {
namespace {

Result<> play_undisturbed(Stage&, Fleet& fleet) {
  if (auto begun = fleet.begin(); !begun) {
    return begun;
  }
  if (auto begun = fleet.begin_run(); !begun) {
    return begun;
  }
  return fleet.end_run();
}

}  // namespace

Setup small_setup() {
  return {.name = "small"};
}

Setup long_setup() {
  return {.name = "long", .rounds = 12};
}

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> table;
  add_kill_rows(table);
  add_grouped_rows(table);
  add_random_rows(table);
  add_broker_rows(table);
  add_message_rows(table);
  add_fleet_rows(table);
  add_clock_rows(table);
  add_network_rows(table);
  add_offline_rows(table);
  add_disk_rows(table);
  add_storage_rows(table);
  std::vector<Scenario> references;
  for (const Scenario& row : table) {
    const bool known = std::ranges::any_of(
        references, [&](const Scenario& reference) { return reference.setup.name == row.setup.name; });
    if (!known && row.compare) {
      Scenario reference;
      reference.name = "undisturbed-" + row.setup.name;
      reference.strikes = "nothing";
      reference.when = "-";
      reference.setup = row.setup;
      reference.play = play_undisturbed;
      references.push_back(std::move(reference));
    }
  }
  table.insert(table.begin(), references.begin(), references.end());
  return table;
}

}  // namespace flops::faults
