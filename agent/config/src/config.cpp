#include "flops/agent_config/config.hpp"

#include <list>
#include <set>

#include <unistd.h>

#include "flops/core/config.hpp"
#include "flops/core/file.hpp"

namespace flops::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_labels = 32;
constexpr std::size_t max_label_name = 64;
constexpr std::size_t max_label_value = 128;
constexpr std::size_t max_datasets = 64;

// What the rows write into; becomes a Config when nothing is wrong.
struct Draft {
  Config config;
  std::string device;
  std::list<trainer::DatasetFiles> datasets;  // addresses must not move while elements are added
};

std::filesystem::path program_beside_own() {
  std::error_code error;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path("flops-trainer") : own.parent_path() / "flops-trainer";
}

std::string check_id(const std::string& text) {
  auto id = DeviceId::parse(text);
  return id ? std::string() : id.error().what;
}

std::string check_tag(const std::string& text) {
  return is_valid_id(text) ? std::string()
                           : fmt::format("'{}' is not a tag: use a-z, 0-9, '.', '_', '-'", text.substr(0, 64));
}

void bind_dataset(ConfigSpec& spec, trainer::DatasetFiles& files) {
  spec.text("tag", files.tag, "The name runs ask for", Presence::required, check_tag);
  spec.choice("format", files.format, {"idx"}, "File format");
  spec.path("train_samples", files.train_samples, "Training samples", Presence::required);
  spec.path("train_labels", files.train_labels, "Their labels", Presence::required);
  spec.path("test_samples", files.test_samples, "Test samples", Presence::required);
  spec.path("test_labels", files.test_labels, "Their labels", Presence::required);
}

void bind(ConfigSpec& spec, Draft& draft) {
  Config& config = draft.config;
  spec.text("device", draft.device, "This device's id in the fleet: a-z, 0-9, '.', '_', '-'", Presence::required,
            check_id);
  spec.choice("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"}, "What is logged");
  spec.path("state.folder", config.state_folder, "Database and identity; the agent must be able to write there");
  spec.path("trainer.program", config.trainer_program, "The program that trains");
  spec.integer("trainer.threads", config.trainer_threads, 0, 1024, "Compute threads; 0: all cores");
  spec.duration("trainer.warm_for", config.trainer_warm_for, milliseconds(0), std::chrono::hours(24),
                "How long an idle trainer is kept for the next round");
  spec.integer("trainer.memory_limit_mb", config.trainer_memory_limit_mb, 64, 1 << 20, "Limit of the trainer, in MiB");
  spec.integer("trainer.nice", config.trainer_nice, 0, 19, "How much the trainer steps back for other programs");
  spec.duration("trainer.checkpoint_interval", config.checkpoint_interval, milliseconds(0), std::chrono::hours(24),
                "How often training is saved in memory, so that a killed trainer repeats no more than that; 0: never");
  spec.integer("trainer.checkpoint_batches", config.checkpoint_batches, 0, 1'000'000'000,
               "The same, after so many batches; 0: by time only");
  spec.duration("trainer.checkpoint_to_disk", config.checkpoint_to_disk, milliseconds(0), std::chrono::hours(24 * 7),
                "How often at most it is saved on the disk, so that a power cut repeats no more than that");
  spec.boolean("trainer.background", config.trainer_background,
               "Train only with the processor and disk time that other programs leave; false: only as nice says");
  spec.duration("mqtt.keep_alive", config.keep_alive, std::chrono::seconds(5), std::chrono::hours(1),
                "Longest silence on the link");
  spec.duration("mqtt.session_expiry", config.session_expiry, std::chrono::minutes(1), std::chrono::hours(24 * 30),
                "How long the broker keeps commands for an absent device");
  spec.duration("mqtt.answer_timeout", config.answer_timeout, std::chrono::seconds(1), std::chrono::hours(1),
                "A result that hears nothing from the coordinator for so long is offered again");
  spec.text_map("labels", config.labels, "Free names and values that describe the device, e.g. site = \"hall-3\"");
  spec.tables(
      "dataset", [&draft](ConfigSpec& element) { bind_dataset(element, draft.datasets.emplace_back()); },
      "Local data; it never leaves the device");
}

// What single rows cannot see.
std::vector<std::string> check(const Draft& draft) {
  std::vector<std::string> problems;
  if (draft.config.labels.size() > max_labels) {
    problems.push_back(fmt::format("[labels]: {} labels; at most {}", draft.config.labels.size(), max_labels));
  }
  for (const auto& [name, value] : draft.config.labels) {
    if (name.empty() || name.size() > max_label_name || value.size() > max_label_value) {
      problems.push_back(fmt::format("[labels] '{}': at most {} bytes of name and {} of value",
                                     name.substr(0, max_label_name), max_label_name, max_label_value));
    }
  }
  if (draft.datasets.size() > max_datasets) {
    problems.push_back(fmt::format("{} [[dataset]] tables; at most {}", draft.datasets.size(), max_datasets));
  }
  std::set<std::string> tags;
  for (const trainer::DatasetFiles& files : draft.datasets) {
    if (!files.tag.empty() && !tags.insert(files.tag).second) {
      problems.push_back(fmt::format("[[dataset]] tag '{}' stands twice", files.tag));
    }
  }
  return problems;
}

}  // namespace

Result<Config> load_config(const std::filesystem::path& file) {
  auto content = read_file(file);
  if (!content) {
    return fail(content.error());
  }
  return parse_config(*content, file.string());
}

Result<Config> parse_config(std::string_view toml, const std::string& name) {
  Draft draft;
  draft.config.trainer_program = program_beside_own();
  ConfigSpec spec("flops-agent");
  bind(spec, draft);
  const auto parsed = spec.parse(toml, name);
  std::vector<std::string> problems;
  if (!parsed) {
    problems.push_back(parsed.error().what);
  }
  for (const std::string& problem : check(draft)) {
    problems.push_back(fmt::format("{}: {}", name, problem));
  }
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  auto device = DeviceId::parse(draft.device);
  if (!device) {
    return fail(device.error());
  }
  draft.config.device = *std::move(device);
  draft.config.datasets.assign(draft.datasets.begin(), draft.datasets.end());
  return std::move(draft.config);
}

std::string config_reference(const Config& config) {
  Draft draft{config, config.device.str(), {}};
  ConfigSpec spec("flops-agent");
  bind(spec, draft);
  return spec.reference();
}

std::string config_reference() {
  Config config;
  config.trainer_program = program_beside_own();
  return config_reference(config);
}

}  // namespace flops::agent
