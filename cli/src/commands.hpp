// What flopsctl does, one function a command. Each prints its result to stdout and returns how the program ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "api.hpp"
#include "interruption.hpp"
#include "outcome.hpp"

namespace flops::cli {

enum class Format { table, json };

struct Context {
  Format format = Format::table;
  SettingFlags settings;
  Interruption* interruption = nullptr;

  // Reads the settings; commands that need no coordinator never call it.
  [[nodiscard]] Outcome<Api> api() const;
};

struct TokenOptions {
  std::int64_t uses = 1;
  std::string expires = "24h";
  std::string note;
  bool site = false;
  bool approve = false;
  std::string device;
};
[[nodiscard]] Outcome<> create_token(const Context& context, const TokenOptions& options);
[[nodiscard]] Outcome<> list_tokens(const Context& context);

[[nodiscard]] Outcome<> show_status(const Context& context);

struct DeviceSelection {
  std::vector<std::string> ids;
  std::string selector;  // instead: "site=hall-3,rack=2"
  std::string state;     // of a list: only those
};
// What is to be done with each of them.
struct DeviceChange {
  std::string reason;
  bool sure = false;
  std::vector<std::string> words;  // label: ids and labels
  std::vector<std::string> set;
  std::vector<std::string> unset;
};
[[nodiscard]] Outcome<> list_devices(const Context& context, const DeviceSelection& only);
[[nodiscard]] Outcome<> show_device(const Context& context, const std::string& id);
// These go through all devices that are named; the first failure is how the command ends.
[[nodiscard]] Outcome<> change_standing(const Context& context, const DeviceSelection& devices, const std::string& verb,
                                        const DeviceChange& change);
[[nodiscard]] Outcome<> label_devices(const Context& context, const DeviceSelection& devices,
                                      const DeviceChange& change);
[[nodiscard]] Outcome<> configure_devices(const Context& context, const DeviceSelection& devices,
                                          const DeviceChange& change);
[[nodiscard]] Outcome<> watch_device(const Context& context, const std::string& id);
[[nodiscard]] Outcome<> device_logs(const Context& context, const std::string& id);
[[nodiscard]] Outcome<> diagnose_device(const Context& context, const std::string& id);

struct AccessOptions {
  std::string name;
  std::string role = "viewer";
};
[[nodiscard]] Outcome<> create_access(const Context& context, const AccessOptions& options);
[[nodiscard]] Outcome<> list_access(const Context& context);
[[nodiscard]] Outcome<> delete_access(const Context& context, const std::string& name);

struct AuditOptions {
  std::string target;
  std::int64_t limit = 50;
};
[[nodiscard]] Outcome<> show_audit(const Context& context, const AuditOptions& options);

// An algorithm and its constants; what is not given is left to the coordinator.
struct AlgorithmOptions {
  std::optional<std::string> name;
  std::optional<double> server_learning_rate, momentum, second_momentum, adaptivity, proximal;
};

// Clusters, and the cycles over them.
struct LevelOptions {
  std::optional<std::string> clusters;
  std::optional<std::int64_t> min_fit, min_available, deadline, max_staleness;
  std::optional<double> fraction;
  std::optional<std::string> algorithm;
  std::optional<double> server_learning_rate;
};

struct RunOptions {
  std::string model;
  std::string data;
  std::optional<std::int64_t> rounds, seed, min_fit, min_available, deadline, epochs, batch, max_staleness, buffer,
      steps, candidates, cycles;
  std::optional<double> fraction, over_select, learning_rate, momentum, weight_decay;
  std::optional<std::string> mode, optimizer, loss;
  AlgorithmOptions algorithm;
  LevelOptions global;
  bool no_evaluate = false;
  std::optional<std::string> best_by;
  bool watch = false;
};
[[nodiscard]] Outcome<> start_run(const Context& context, const RunOptions& options);
// How a command ends that has started a run, which is the coordinator's answer; `of`: what it is of, before the words.
[[nodiscard]] Outcome<> tell_started(const Context& context, const boost::json::value& run, const std::string& of,
                                     bool watch);
[[nodiscard]] Outcome<> list_runs(const Context& context);
[[nodiscard]] Outcome<> show_run(const Context& context, const std::string& id);
[[nodiscard]] Outcome<> stop_run(const Context& context, const std::string& id);
// Prints a row for each completed round until the run ends. exit_run_failed when it failed or was stopped.
[[nodiscard]] Outcome<> watch_run(const Context& context, const std::string& id);

// Where a project is, or is to be.
struct ProjectOptions {
  std::string place;  // folder, or address of a repository
  std::string ref;
  std::vector<std::string> settings;  // "key=value"
  std::string name;
  std::string model = "softmax";
  std::string data = "mnist";
  bool watch = false;
};
// These four need no coordinator.
[[nodiscard]] Outcome<> init_project(const Context& context, const ProjectOptions& options);
[[nodiscard]] Outcome<> list_builtin_models(const Context& context);
[[nodiscard]] Outcome<> manifest_reference(const Context& context);
[[nodiscard]] Outcome<> validate_project(const Context& context, const ProjectOptions& options);
[[nodiscard]] Outcome<> submit_project(const Context& context, const ProjectOptions& options);
[[nodiscard]] Outcome<> list_projects(const Context& context);
[[nodiscard]] Outcome<> show_project(const Context& context, const std::string& name);
[[nodiscard]] Outcome<> watch_project(const Context& context, const std::string& name);
[[nodiscard]] Outcome<> change_project(const Context& context, const std::string& name, const char* verb);
[[nodiscard]] Outcome<> delete_project(const Context& context, const std::string& name);

[[nodiscard]] Outcome<> list_models(const Context& context);
// `what`: a digest, the beginning of one (6 digits or more), or a run.
[[nodiscard]] Outcome<> get_model(const Context& context, const std::string& what, bool best,
                                  const std::filesystem::path& file);

[[nodiscard]] Outcome<> list_clusters(const Context& context);
[[nodiscard]] Outcome<> show_cluster(const Context& context, const std::string& id);

struct PartitionOptions {
  std::string source;
  std::int64_t devices = 0;
  std::string scheme = "iid";
  std::uint64_t seed = 1;
  std::filesystem::path out;
  std::string prefix = "device-";
};
[[nodiscard]] Outcome<> partition_dataset(const Context& context, const PartitionOptions& options);

}  // namespace flops::cli
