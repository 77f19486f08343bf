// The table of scenarios: one row is a name, what strikes, when, and what must hold beside the invariants of every row.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "stage.hpp"

namespace flops::faults {

struct Scenario {
  std::string name;
  std::string strikes;
  std::string when;
  Setup setup{};
  bool in_short = false;
  bool sealed = false;                           // needs namespaces of its own
  bool compare = true;                           // the same devices contribute as in an undisturbed run
  std::vector<std::string> expected_errors{};    // parts of log lines that the fault brings about
  std::function<Result<>(Stage&, Fleet&)> play;  // from before the fleet begins until the run is over
};

[[nodiscard]] std::vector<Scenario> all_scenarios();

// Setups that rows share. "undisturbed-<name>" is played once for each that is needed.
[[nodiscard]] Setup small_setup();
[[nodiscard]] Setup long_setup();

// The parts of the table.
void add_kill_rows(std::vector<Scenario>& table);
void add_grouped_rows(std::vector<Scenario>& table);
void add_random_rows(std::vector<Scenario>& table);
void add_broker_rows(std::vector<Scenario>& table);
void add_network_rows(std::vector<Scenario>& table);
void add_disk_rows(std::vector<Scenario>& table);
void add_storage_rows(std::vector<Scenario>& table);
void add_offline_rows(std::vector<Scenario>& table);
void add_clock_rows(std::vector<Scenario>& table);
void add_message_rows(std::vector<Scenario>& table);
void add_fleet_rows(std::vector<Scenario>& table);

}  // namespace flops::faults
