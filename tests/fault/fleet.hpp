// A fleet of the real programs in the stage's folder: a coordinator with its managed broker, enrolled agents with their
// trainers, one run at a time. A row changes `plan` and the programs' commands before they are started.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "coordinator_api.hpp"
#include "program.hpp"
#include "stage.hpp"

namespace flops::faults {

inline constexpr const char* fleet_name = "faults";
inline constexpr const char* data_tag = "digits";
inline constexpr std::uint32_t test_samples = 60;  // of each device

// What is trained; runs with the same values end with the same model.
struct Setup {
  std::string name;
  int devices = 3;
  int rounds = 3;  // of a cycle
  int cycles = 1;
  int clusters = 0;  // 0: a flat run; else min_fit is of each
  int min_fit = 3;
  int min_available = 3;
  int deadline_seconds = 600;  // longer than a row may take: nothing may be saved by it
  std::string model = "2nn";   // several chunks an update
};

// How the programs are run and reached.
struct Plan {
  std::string listen = "127.0.0.1";
  std::string public_host;
  int keep_alive_seconds = 30;
  int answer_timeout_seconds = 10;
  int offline_continue = 0;
  std::set<int> absent;  // devices that are not started with the others
};

class Fleet {
 public:
  Fleet(Stage& stage, Setup setup);

  // Coordinator up, devices enrolled, started and online.
  [[nodiscard]] Result<> begin();
  [[nodiscard]] Result<> begin_coordinator();
  [[nodiscard]] Result<> enrol(int device);
  [[nodiscard]] Result<> wait_online(const std::set<int>& devices);
  [[nodiscard]] Result<> begin_run();
  // Until the run has finished and no device has anything left to say. A run that failed is an error.
  [[nodiscard]] Result<> end_run(std::chrono::seconds deadline = patience);
  // SIGTERM for all, agents first.
  void stop();

  [[nodiscard]] Program& coordinator() { return *coordinator_; }
  [[nodiscard]] Program& agent(int device) { return *agents_.at(device); }
  [[nodiscard]] int trainer_pid(int device) const;  // -1: none
  [[nodiscard]] int broker_pid() const { return broker_pid_; }
  // As the agents say in their logs.
  [[nodiscard]] bool linked(int device) const { return linked_.contains(device_name(device)); }
  [[nodiscard]] const std::string& run() const { return run_; }
  [[nodiscard]] int runs_started() const { return runs_started_; }
  [[nodiscard]] const Setup& setup() const { return setup_; }
  [[nodiscard]] std::filesystem::path state_of(int device) const;
  [[nodiscard]] std::filesystem::path coordinator_state() const { return stage_.folder / "coordinator"; }
  [[nodiscard]] Result<boost::json::object> ask(const std::string& path) const;
  [[nodiscard]] std::string run_state() const;  // empty when the coordinator does not answer
  [[nodiscard]] static std::string device_name(int device) { return fmt::format("device-{}", device); }

  Plan plan;
  std::set<int> gone;     // for ever: nothing is expected of these any more
  std::set<int> damaged;  // their databases: set aside, and only theirs

 private:
  [[nodiscard]] Result<> write_configuration(int device) const;
  void read_line(const std::string& program, const std::string& line);
  [[nodiscard]] std::string open_work() const;

  Stage& stage_;
  Setup setup_;
  std::unique_ptr<Program> coordinator_;
  std::map<int, std::unique_ptr<Program>> agents_;
  std::map<std::string, int> trainers_;  // by agent
  std::set<std::string> linked_;
  int broker_pid_ = -1;
  int runs_started_ = 0;
  std::string run_;
};

}  // namespace flops::faults
