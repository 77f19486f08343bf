// flops-agent's configuration: one TOML file, every setting with a default.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "flops/agent_governor/conditions.hpp"
#include "flops/core/error.hpp"
#include "flops/core/id.hpp"
#include "flops/trainer/job.hpp"

namespace flops::agent {

// The coordinator that the uplink of a site works for, beside it on the same machine or in its network.
struct SiteConfig {
  std::string url;                   // empty: this agent is a plain device
  std::filesystem::path ca_file;     // of the site's coordinator
  std::filesystem::path token_file;  // an operator's token of the site's coordinator
  std::filesystem::path program;     // default: flops-site of the same installation
};

struct Config {
  // True at the uplink of a site: one device to the coordinator above, a whole fleet at home.
  [[nodiscard]] bool is_uplink() const { return !site.url.empty(); }

  DeviceId device;
  bool device_named = false;  // by the file; otherwise it is made from the host name, until the device is enrolled
  std::string log_level = "info";
  std::filesystem::path state_folder = "/var/lib/flops-agent";
  std::int64_t model_quota_mb = 1024;   // on the disk, of models that are kept for the next rounds
  std::int64_t outbox_quota_mb = 1024;  // of updates that wait for their receipts; beyond it no new training is taken

  std::filesystem::path trainer_program;        // default: flops-trainer of the same installation
  std::filesystem::path trainer_control_group;  // found at the start, not configured; empty: the agent's
  std::int64_t trainer_threads = 0;             // 0: all cores
  std::string trainer_device = "auto";          // auto | cpu | cuda
  std::chrono::milliseconds trainer_warm_for{120'000};
  std::int64_t trainer_memory_limit_mb = 4096;
  std::int64_t trainer_nice = 10;
  // Of training: kept in memory for the trainer's death, and more rarely on the disk for the agent's and a power cut.
  std::chrono::milliseconds checkpoint_interval{10'000};
  std::int64_t checkpoint_batches = 0;
  std::chrono::milliseconds checkpoint_to_disk{std::chrono::minutes(5)};
  bool trainer_background = true;

  Conditions conditions;
  std::filesystem::path system_root = "/";  // above the proc and sys that the conditions are read from

  std::int64_t offline_continue = 0;  // local rounds beyond the task's own while there is no link

  std::chrono::milliseconds keep_alive{30'000};
  std::chrono::milliseconds session_expiry{std::chrono::hours(24 * 7)};
  std::chrono::milliseconds answer_timeout{std::chrono::minutes(2)};

  SiteConfig site;

  std::map<std::string, std::string> labels;
  std::vector<trainer::DatasetFiles> datasets;
};

// The id of a device that is only known by its host name: lower case, and '-' for what stands in no id. Empty when
// nothing is left, or for a name that many machines have ("localhost").
[[nodiscard]] std::string id_of_host(std::string_view host_name);

// permanent: everything that is wrong, one problem a line.
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);
// The same for text; `name` stands for the file, and relative paths are resolved against its folder.
[[nodiscard]] Result<Config> parse_config(std::string_view toml, const std::string& name, const std::string& host_name);

// `base` with what the operator wants of this device: labels are added, or take the place of those with the same name;
// settings are log_level and those of [conditions] but system_root, by their keys, with values as TOML.
// permanent: everything that is wrong, one problem a line.
[[nodiscard]] Result<Config> with_wishes(const Config& base, const std::map<std::string, std::string>& labels,
                                         const std::map<std::string, std::string>& settings);

// All settings as a commented TOML file, with the values of `config`.
[[nodiscard]] std::string config_reference(const Config& config);
// With the defaults.
[[nodiscard]] std::string config_reference();

}  // namespace flops::agent
