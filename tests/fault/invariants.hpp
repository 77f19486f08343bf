// What must hold after every row, and what must hold at the moment a program was killed. Each finding becomes a problem
// of the stage.
#pragma once

#include <string>
#include <vector>

#include "fleet.hpp"
#include "stage.hpp"

namespace flops::faults {

// The coordinator is dead: its database is whole, and the open round's contributions have their updates on the disk.
void check_dead_coordinator(Stage& stage, const Fleet& fleet);
// The agent is dead: its database is whole, and what it offers is there.
void check_dead_agent(Stage& stage, const Fleet& fleet, int device);

// All programs have ended. `reference`: the models of an undisturbed run, empty when there is nothing to compare with.
void check_ledgers(Stage& stage, const Fleet& fleet, const std::vector<std::string>& reference);
// `expected`: parts of the error lines that the row's fault brings about.
void check_logs(Stage& stage, const std::vector<std::string>& expected);
void check_nothing_left(Stage& stage);

}  // namespace flops::faults
