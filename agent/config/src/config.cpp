#include "flops/agent_config/config.hpp"

#include <algorithm>
#include <climits>
#include <iterator>
#include <list>
#include <set>

#include <unistd.h>

#include "flops/core/config.hpp"
#include "flops/core/file.hpp"
#include "flops/core/program.hpp"
#include "flops/http/client.hpp"

namespace flops::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_labels = 32;
constexpr std::size_t max_label_name = 64;
constexpr std::size_t max_label_value = 128;
constexpr std::size_t max_datasets = 64;
constexpr std::size_t max_interfaces = 16;
constexpr std::size_t max_time_windows = 32;
constexpr std::int64_t most_offline_rounds = 1000;  // of the protocol
constexpr const char* metered_train = "train";
constexpr const char* metered_pause = "pause";

std::string name_of_policy(const Conditions& conditions) {
  return conditions.pause_when_metered ? metered_pause : metered_train;
}

// What the rows write into; becomes a Config when nothing is wrong.
struct Draft {
  explicit Draft(Config start)
      : config(std::move(start)), device(config.device.str()), metered(name_of_policy(config.conditions)) {
    std::ranges::transform(config.conditions.time_windows, std::back_inserter(time_windows), to_text);
  }

  Config config;
  std::string device;
  std::string metered;
  std::vector<std::string> time_windows;
  std::list<trainer::DatasetFiles> datasets;  // addresses must not move while elements are added
};

// Where it would be when it is not installed: an error then names that place.
std::filesystem::path installed_program(const char* name) {
  const auto own = own_folder();
  return own ? companion_program(*own, name).value_or(*own / name) : std::filesystem::path(name);
}

Config default_config() {
  Config config;
  config.trainer_program = installed_program("flops-trainer");
  config.site.program = installed_program("flops-site");
  return config;
}

std::string check_id(const std::string& text) {
  auto id = DeviceId::parse(text);
  return id ? std::string() : id.error().what;
}

std::string check_tag(const std::string& text) {
  return is_valid_id(text) ? std::string()
                           : fmt::format("'{}' is not a tag: use a-z, 0-9, '.', '_', '-'", text.substr(0, 64));
}

std::string check_time_window(const std::string& text) {
  const auto window = parse_time_window(text);
  return window ? std::string() : window.error().what;
}

void bind_log_level(ConfigSpec& spec, Config& config) {
  spec.choice("log_level", config.log_level, {"trace", "debug", "info", "warn", "error"}, "What is logged");
}

void bind_conditions(ConfigSpec& spec, Draft& draft) {
  Conditions& conditions = draft.config.conditions;
  spec.integer("conditions.max_temperature", conditions.max_temperature, 0, 150,
               "Train up to this temperature of the hottest sensor, in degrees Celsius; 0: any");
  spec.integer("conditions.max_other_load", conditions.max_other_load, 1, 100,
               "Train while other programs use up to this percentage of all processors; 100: any");
  spec.integer("conditions.max_memory_pressure", conditions.max_memory_pressure, 1, 100,
               "Train while programs wait for memory up to this percentage of the time; 100: any");
  spec.integer("conditions.min_battery", conditions.min_battery, 0, 100,
               "Train on battery down to this percentage; 0: any, 100: only on mains");
  spec.choice("conditions.metered", draft.metered, {metered_train, metered_pause},
              "While the default route leads over a metered link");
  spec.texts("conditions.metered_interfaces", conditions.metered_interfaces, max_interfaces,
             "Which links are metered: names of interfaces, or the beginning of names and *", problem_with_interface);
  spec.texts("conditions.time_windows", draft.time_windows, max_time_windows,
             "When to train, in local time, e.g. \"22:00-06:00\" or \"sat,sun 00:00-24:00\"; none: always",
             check_time_window);
  spec.duration("conditions.resume_after", conditions.resume_after, milliseconds(0), std::chrono::hours(1),
                "How long all of these hold before training goes on after a pause");
}

std::string check_url(const std::string& text) {
  const auto url = text.empty() ? Result<http::Url>() : http::Url::parse(text);
  return url ? std::string() : url.error().what;
}

void bind_site(ConfigSpec& spec, SiteConfig& site) {
  spec.text("site.url", site.url,
            "This agent is the uplink of a site: the address of the site's coordinator, https://host:port; empty: it "
            "is a device",
            Presence::optional, check_url);
  spec.path("site.ca_file", site.ca_file, "The CA of that coordinator (ca.pem in its state folder)");
  spec.path("site.token_file", site.token_file,
            "A file with a token of it, of role operator or admin (admin.token in its state folder)");
  spec.path("site.program", site.program, "The program that does the site's part of a run");
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
  spec.text("device", draft.device,
            "This device's id in the fleet: a-z, 0-9, '.', '_', '-'; without it the host name, made into one, until "
            "the device is enrolled",
            Presence::optional, check_id);
  bind_log_level(spec, config);
  spec.path("state.folder", config.state_folder, "Database and identity; the agent must be able to write there");
  spec.integer("state.model_quota_mb", config.model_quota_mb, 1, 1 << 20,
               "So many MiB of models, and of control variates, are kept; the least recently used go first");
  spec.integer("state.outbox_quota_mb", config.outbox_quota_mb, 1, 1 << 20,
               "While updates of other runs of so many MiB wait for their receipts, no new training is taken");
  spec.path("trainer.program", config.trainer_program, "The program that trains");
  spec.integer("trainer.threads", config.trainer_threads, 0, 1024, "Compute threads; 0: all cores");
  spec.choice(
      "trainer.device", config.trainer_device, {"auto", "cpu", "cuda"},
      "What training runs on; auto: CUDA where it works, else the CPU; cuda: the same, and the CPU is a warning");
  spec.duration("trainer.warm_for", config.trainer_warm_for, milliseconds(0), std::chrono::hours(24),
                "How long an idle trainer is kept for the next round");
  spec.integer("trainer.memory_limit_mb", config.trainer_memory_limit_mb, 64, 1 << 20, "Limit of the trainer, in MiB");
  spec.integer("trainer.nice", config.trainer_nice, 0, 19, "How much the trainer steps back for other programs");
  spec.duration(
      "trainer.checkpoint_interval", config.checkpoint_interval, milliseconds(0), std::chrono::hours(24),
      "How often training is saved in memory, so that a killed trainer repeats no more than that; 0: not by time");
  spec.integer("trainer.checkpoint_batches", config.checkpoint_batches, 0, 1'000'000'000,
               "The same, after so many batches; 0: not by batches");
  spec.duration("trainer.checkpoint_to_disk", config.checkpoint_to_disk, milliseconds(0), std::chrono::hours(24 * 7),
                "How often at most it is saved on the disk, so that a power cut repeats no more than that");
  spec.boolean("trainer.background", config.trainer_background,
               "Train only with the processor and disk time that other programs leave; false: only as nice says");
  bind_conditions(spec, draft);
  spec.path("conditions.system_root", config.system_root,
            "The folder with the device's proc and sys: another one for an agent in a container");
  spec.integer("offline.continue", config.offline_continue, 0, most_offline_rounds,
               "How many more rounds a task is trained while there is no link when its own is done; 0: it waits");
  spec.duration("mqtt.keep_alive", config.keep_alive, std::chrono::seconds(5), std::chrono::hours(1),
                "Longest silence on the link; one that swallows packets is noticed within twice this time");
  spec.duration(
      "mqtt.session_expiry", config.session_expiry, std::chrono::minutes(1), std::chrono::hours(24 * 30),
      "How long the broker keeps this device's session (the managed broker 14 days at most, commands in it for a day)");
  spec.duration("mqtt.answer_timeout", config.answer_timeout, std::chrono::seconds(1), std::chrono::hours(1),
                "A result that hears nothing from the coordinator for so long is offered again");
  bind_site(spec, config.site);
  spec.text_map("labels", config.labels, "Free names and values that describe the device, e.g. site = \"hall-3\"");
  spec.tables(
      "dataset", [&draft](ConfigSpec& element) { bind_dataset(element, draft.datasets.emplace_back()); },
      "Local data; it never leaves the device");
}

void check_site(const Draft& draft, std::vector<std::string>& problems) {
  const SiteConfig& site = draft.config.site;
  if (site.url.empty()) {
    if (!site.ca_file.empty() || !site.token_file.empty()) {
      problems.emplace_back("[site]: 'url' is missing");
    }
    return;
  }
  if (site.ca_file.empty() || site.token_file.empty()) {
    problems.emplace_back("[site]: 'ca_file' and 'token_file' are needed with 'url'");
  }
  if (!draft.datasets.empty()) {
    problems.emplace_back("[[dataset]]: the data of a site is that of its devices; leave it out with [site]");
  }
}

void check_labels(const Draft& draft, std::vector<std::string>& problems) {
  if (draft.config.labels.size() > max_labels) {
    problems.push_back(fmt::format("[labels]: {} labels; at most {}", draft.config.labels.size(), max_labels));
  }
  for (const auto& [name, value] : draft.config.labels) {
    if (name.empty() || name.size() > max_label_name || value.size() > max_label_value) {
      problems.push_back(fmt::format("[labels] '{}': at most {} bytes of name and {} of value",
                                     name.substr(0, max_label_name), max_label_name, max_label_value));
    }
  }
}

// What single rows cannot see.
std::vector<std::string> check(const Draft& draft) {
  std::vector<std::string> problems;
  check_labels(draft, problems);
  check_site(draft, problems);
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

void take_conditions(Draft& draft) {
  draft.config.conditions.pause_when_metered = draft.metered == metered_pause;
  draft.config.conditions.time_windows.clear();
  for (const std::string& text : draft.time_windows) {
    draft.config.conditions.time_windows.push_back(*parse_time_window(text));
  }
}

// One line of TOML, and nothing else: what comes over the network cannot open a table, or begin another line.
bool is_one_setting(const std::string& key, const std::string& value) {
  constexpr std::string_view of_keys = "abcdefghijklmnopqrstuvwxyz_.";
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  return !key.empty() && key.find_first_not_of(of_keys) == std::string::npos && std::ranges::none_of(value, is_control);
}

std::string own_host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

Result<Config> with_wishes(const Config& base, const std::map<std::string, std::string>& labels,
                           const std::map<std::string, std::string>& settings) {
  Draft draft(base);
  ConfigSpec spec("flops-agent");
  bind_log_level(spec, draft.config);
  bind_conditions(spec, draft);
  std::vector<std::string> problems;
  std::string toml;
  for (const auto& [key, value] : settings) {
    if (is_one_setting(key, value)) {
      toml += fmt::format("{} = {}\n", key, value);
    } else {
      problems.push_back(fmt::format("'{}' is no setting", key.substr(0, max_label_name)));
    }
  }
  if (const auto parsed = spec.parse(toml, "settings"); !parsed) {
    problems.push_back(parsed.error().what);
  }
  for (const auto& [name, value] : labels) {
    draft.config.labels[name] = value;
  }
  check_labels(draft, problems);
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  take_conditions(draft);
  return std::move(draft.config);
}

std::string id_of_host(std::string_view host_name) {
  if (host_name == "localhost" || host_name == "(none)") {  // what a machine is called that nobody has named
    return {};
  }
  constexpr std::string_view ends = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string id;
  for (const char c : host_name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    id += ends.find(lower) != std::string_view::npos || lower == '.' || lower == '_' ? lower : '-';
  }
  id.erase(0, std::min(id.find_first_of(ends), id.size()));
  id.resize(std::min(id.size(), max_id_length));
  id.resize(id.find_last_of(ends) + 1);
  return id;
}

Result<Config> load_config(const std::filesystem::path& file) {
  auto content = read_file(file);
  if (!content) {
    return fail(content.error());
  }
  return parse_config(*content, file.string(), own_host_name());
}

Result<Config> parse_config(std::string_view toml, const std::string& name, const std::string& host_name) {
  Draft draft(default_config());
  ConfigSpec spec("flops-agent");
  bind(spec, draft);
  const auto parsed = spec.parse(toml, name);
  std::vector<std::string> problems;
  if (!parsed) {
    problems.push_back(parsed.error().what);
  }
  draft.config.device_named = !draft.device.empty();
  if (parsed && !draft.config.device_named) {
    draft.device = id_of_host(host_name);
  }
  for (const std::string& problem : check(draft)) {
    problems.push_back(fmt::format("{}: {}", name, problem));
  }
  if (parsed && draft.device.empty()) {
    problems.push_back(fmt::format(
        "{}: 'device' is missing: an id of a-z, 0-9, '.', '_', '-'; the host name '{}' gives none", name, host_name));
  }
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  auto device = DeviceId::parse(draft.device);
  if (!device) {
    return fail(device.error());
  }
  draft.config.device = *std::move(device);
  take_conditions(draft);
  draft.config.datasets.assign(draft.datasets.begin(), draft.datasets.end());
  return std::move(draft.config);
}

std::string config_reference(const Config& config) {
  Draft draft(config);
  ConfigSpec spec("flops-agent");
  bind(spec, draft);
  return spec.reference();
}

std::string config_reference() {
  return config_reference(default_config());
}

}  // namespace flops::agent
