// One of the real programs, run as a supervisor would: it is started again by whoever ended it, and an end that nobody
// asked for is a problem of the row.
#pragma once

#include <memory>
#include <string>

#include "flops/process/child.hpp"
#include "stage.hpp"

namespace flops::faults {

class Program {
 public:
  // `command.log_file` is set here.
  Program(Stage& stage, std::string name, process::Command command);

  [[nodiscard]] Result<> start();
  void kill_now();                // SIGKILL; returns at once
  [[nodiscard]] Result<> kill();  // SIGKILL and waits
  [[nodiscard]] Result<> stop();  // SIGTERM and waits; anything but status 0 is a problem
  [[nodiscard]] bool running() const { return child_ && child_->running(); }
  [[nodiscard]] int pid() const { return running() ? child_->pid() : -1; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // For rows in which ending is right: started again after a moment, as systemd would.
  void may_end(bool allowed) { may_end_ = allowed; }
  process::Command& command() { return command_; }
  [[nodiscard]] const process::Command& command() const { return command_; }

 private:
  void ended(process::Exit exit);

  Stage& stage_;
  std::string name_;
  process::Command command_;
  std::unique_ptr<process::Child> child_;
  bool end_expected_ = false;
  bool may_end_ = false;
  process::Exit last_exit_;
};

// Runs a tool to its end: ip, iptables, mount. permanent with its output when it fails.
[[nodiscard]] Result<> run_tool(Stage& stage, const std::string& program, std::vector<std::string> arguments);

}  // namespace flops::faults
