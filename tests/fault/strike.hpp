// Killing a process at the moment a log reports a state, and starting it again.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "stage.hpp"

namespace flops::faults {

enum class Victim { agent, trainer, coordinator, broker };
[[nodiscard]] std::string to_string(Victim victim);

struct Moment {
  std::string program;             // whose log
  std::vector<std::string> words;  // all of them in one line
};

struct Strike {
  Victim victim = Victim::agent;
  int device = 1;  // of agent and trainer
  Moment at;
};

// Calls `then` in the very moment. An error when it does not come in time: the row tests nothing then.
[[nodiscard]] Result<> at_moment(Stage& stage, const Moment& moment, const std::function<void()>& then);

// SIGKILL, in this moment. A managed broker and a trainer are started again by their parents.
[[nodiscard]] Result<> kill_now(Stage& stage, Fleet& fleet, Victim victim, int device);
// What was left on the disk is looked at, then the program is started again.
[[nodiscard]] Result<> bring_back(Stage& stage, Fleet& fleet, Victim victim, int device,
                                  std::chrono::milliseconds down);

[[nodiscard]] Result<> strike(Stage& stage, Fleet& fleet, const Strike& strike);

}  // namespace flops::faults
