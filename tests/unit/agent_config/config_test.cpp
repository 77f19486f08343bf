#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "flops/agent_config/config.hpp"

using namespace flops;
using namespace flops::agent;

namespace {

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string problems(std::string_view toml) {
  auto config = parse_config(toml, "/etc/flops-agent/agent.toml", "pi-0");
  REQUIRE_FALSE(config.has_value());
  return config.error().what;
}

}  // namespace

TEST_CASE("config: the device's id is all that is said of most devices") {
  const auto config = parse_config("device = 'pi-1'", "/etc/flops-agent/agent.toml", "pi-0");
  REQUIRE(config.has_value());
  CHECK(config->device.str() == "pi-1");
  CHECK(config->device_named);
  CHECK(config->state_folder == "/var/lib/flops-agent");
  CHECK(config->trainer_program.filename() == "flops-trainer");
  CHECK(config->trainer_program.is_absolute());
  CHECK(config->session_expiry == std::chrono::hours(24 * 7));
  CHECK(config->trainer_background);
  CHECK(config->conditions == Conditions());
  CHECK(config->datasets.empty());
}

TEST_CASE("config: a device that is not named is called like its host") {
  struct Row {
    const char* host;
    const char* id;
  };
  const std::string long_name(80, 'a');
  for (const Row& row : {Row{"pi-1", "pi-1"}, Row{"Raspberry.Local", "raspberry.local"},
                         Row{"--b\xc3\xbc"
                             "ro 3_",
                             "b--ro-3"},
                         Row{long_name.c_str(), long_name.c_str() + 16}, Row{"localhost", ""}, Row{"(none)", ""},
                         Row{"...", ""}, Row{"", ""}}) {
    CAPTURE(row.host);
    CHECK(id_of_host(row.host) == row.id);
    const auto config = parse_config("log_level = 'info'", "/etc/flops-agent/agent.toml", row.host);
    REQUIRE(config.has_value() == (*row.id != '\0'));
    if (config) {
      CHECK(config->device.str() == row.id);
      CHECK_FALSE(config->device_named);
    } else {
      CHECK(says(config.error().what, "'device' is missing"));
    }
  }
}

TEST_CASE("config: everything that can be set is read, paths relative to the file") {
  const auto config = parse_config(R"(
device = "pi-1"
log_level = "debug"
[state]
folder = "state"
[trainer]
program = "/opt/flops-trainer"
threads = 2
warm_for = "5s"
memory_limit_mb = 512
nice = 5
background = false
[conditions]
max_temperature = 70
max_other_load = 60
max_memory_pressure = 5
min_battery = 100
metered = "pause"
metered_interfaces = ["usb0", "wwan*"]
time_windows = ["22:00-06:00", "sat,sun 00:00-24:00"]
resume_after = "1m"
[mqtt]
keep_alive = "10s"
session_expiry = "2d"
[offline]
continue = 3
[labels]
site = "hall-3"
[[dataset]]
tag = "mnist"
train_samples = "d/a"
train_labels = "d/b"
test_samples = "d/c"
test_labels = "/d"
)",
                                   "/etc/flops-agent/agent.toml", "pi-0");
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().what));
  CHECK(config->log_level == "debug");
  CHECK(config->state_folder == "/etc/flops-agent/state");
  CHECK(config->trainer_program == "/opt/flops-trainer");
  CHECK(config->trainer_threads == 2);
  CHECK(config->trainer_warm_for == std::chrono::seconds(5));
  CHECK(config->trainer_memory_limit_mb == 512);
  CHECK(config->trainer_nice == 5);
  CHECK_FALSE(config->trainer_background);
  Conditions conditions;
  conditions.max_temperature = 70;
  conditions.max_other_load = 60;
  conditions.max_memory_pressure = 5;
  conditions.min_battery = 100;
  conditions.pause_when_metered = true;
  conditions.metered_interfaces = {"usb0", "wwan*"};
  conditions.time_windows = {{0x7F, 22 * 60, 6 * 60}, {0x60, 0, 24 * 60}};
  conditions.resume_after = std::chrono::minutes(1);
  CHECK(config->conditions == conditions);
  CHECK(config->keep_alive == std::chrono::seconds(10));
  CHECK(config->session_expiry == std::chrono::hours(48));
  CHECK(config->offline_continue == 3);
  CHECK(config->labels == std::map<std::string, std::string>{{"site", "hall-3"}});
  REQUIRE(config->datasets.size() == 1);
  CHECK(config->datasets[0].tag == "mnist");
  CHECK(config->datasets[0].train_samples == "/etc/flops-agent/d/a");
  CHECK(config->datasets[0].test_labels == "/d");
}

TEST_CASE("config: everything that is wrong is said together, with lines") {
  const std::string text = problems(R"(
device = "Pi 1"
log_level = "loud"
colour = "red"
[trainer]
nice = 40
threads = "two"
[conditions]
max_temperature = 300
metered = "stop"
metered_interfaces = "wwan0"
time_windows = ["22:00-06:00", "nights"]
[mqtt]
keep_alive = 30
[offline]
continue = 1001
[[dataset]]
tag = "a b"
train_samples = "x"
)");
  CHECK(says(text, "/etc/flops-agent/agent.toml:2: 'device'"));
  CHECK(says(text, "agent.toml:3: 'log_level'"));
  CHECK(says(text, "agent.toml:4: unknown key 'colour'"));
  CHECK(says(text, "agent.toml:6: 'trainer.nice': 40 is out of range"));
  CHECK(says(text, "agent.toml:7: 'trainer.threads'"));
  CHECK(says(text, "agent.toml:9: 'conditions.max_temperature': 300 is out of range"));
  CHECK(says(text, "agent.toml:10: 'conditions.metered'"));
  CHECK(says(text, "agent.toml:11: 'conditions.metered_interfaces': expected a list of texts"));
  CHECK(says(text, "agent.toml:12: 'conditions.time_windows': 'nights'"));
  CHECK(says(text, "agent.toml:14: 'mqtt.keep_alive'"));
  CHECK(says(text, "agent.toml:16: 'offline.continue': 1001 is out of range"));
  CHECK(says(text, "'a b' is not a tag"));
  CHECK(says(text, "'test_labels' is missing"));
}

TEST_CASE("config: what rows cannot see alone is checked too") {
  std::string many = "device = 'd'\n[labels]\n";
  for (int i = 0; i < 33; ++i) {
    many += fmt::format("l{} = 'x'\n", i);
  }
  CHECK(says(problems(many), "33 labels; at most 32"));
  CHECK(says(problems(fmt::format("device = 'd'\n[labels]\nx = '{}'", std::string(129, 'y'))), "[labels] 'x'"));
  const std::string dataset =
      "[[dataset]]\ntag = 'm'\ntrain_samples='a'\ntrain_labels='a'\ntest_samples='a'\ntest_labels='a'\n";
  CHECK(says(problems("device = 'd'\n" + dataset + dataset), "'m' stands twice"));
}

TEST_CASE("config: the reference is a file that can be loaded again") {
  Config config;
  config.device = *DeviceId::parse("pi-7");
  config.trainer_nice = 3;
  config.trainer_program = "/x/flops-trainer";
  config.conditions.pause_when_metered = true;
  config.conditions.metered_interfaces.clear();
  config.conditions.time_windows = {{0x1F, 18 * 60 + 30, 60}};
  const std::string reference = config_reference(config);
  CHECK(says(reference, "nice = 3"));
  CHECK(says(reference, "[[dataset]]"));
  const auto again = parse_config(reference, "/etc/flops-agent/agent.toml", "pi-0");
  REQUIRE_MESSAGE(again.has_value(), (again ? "" : again.error().what));
  CHECK(again->device == config.device);
  CHECK(again->trainer_nice == 3);
  CHECK(again->conditions == config.conditions);
  CHECK(says(config_reference(), "# device = "));
  const auto unchanged = parse_config(config_reference(), "/etc/flops-agent/agent.toml", "Pi-9");
  REQUIRE_MESSAGE(unchanged.has_value(), (unchanged ? "" : unchanged.error().what));
  CHECK(unchanged->device.str() == "pi-9");
}

TEST_CASE("wishes: what the operator wants is checked like the file, and taken as a whole or not at all") {
  const Config base =
      parse_config("device = 'pi-1'\n[labels]\nsite = 'hall-1'\nrack = '2'\n[conditions]\nmin_battery = 20\n",
                   "agent.toml", "host")
          .value();
  const Config wished = with_wishes(base, {{"site", "hall-3"}},
                                    {{"conditions.max_temperature", "70"},
                                     {"conditions.time_windows", "['22:00-06:00']"},
                                     {"conditions.metered", "'pause'"},
                                     {"log_level", "\"debug\""}})
                            .value();
  CHECK(wished.labels.at("site") == "hall-3");
  CHECK(wished.labels.at("rack") == "2");
  CHECK(wished.conditions.max_temperature == 70);
  CHECK(wished.conditions.min_battery == 20);
  CHECK(wished.conditions.time_windows.size() == 1);
  CHECK(wished.conditions.pause_when_metered);
  CHECK(wished.log_level == "debug");
  CHECK(wished.device == base.device);

  struct Row {
    std::string key;
    std::string value;
    std::string complaint;
  };
  for (const Row& row :
       {Row{"conditions.max_temperature", "'hot'", "max_temperature"},
        Row{"conditions.max_temperature", "1000", "out of range"}, Row{"state.folder", "'/'", "unknown key"},
        Row{"conditions.system_root", "'/x'", "unknown key"},
        Row{"log_level", "'debug'\ndevice = 'other'", "is no setting"},
        Row{"log_level = 'debug'\ndevice", "'other'", "is no setting"},
        Row{"conditions.max_temperature", "", "settings:1"}}) {
    CAPTURE(row.key);
    const auto refused = with_wishes(base, {}, {{row.key, row.value}});
    REQUIRE_FALSE(refused.has_value());
    CHECK_MESSAGE(refused.error().what.find(row.complaint) != std::string::npos, refused.error().what);
  }
  CHECK_FALSE(with_wishes(base, {{"long", std::string(129, 'x')}}, {}).has_value());
}

TEST_CASE("config: the uplink of a site names the site's coordinator, and has no data of its own") {
  const std::string site = "device = 'hall-3'\n[site]\nurl = 'https://localhost:8443'\n";
  const auto config =
      parse_config(site + "ca_file = 'ca.pem'\ntoken_file = '/run/token'", "/etc/flops-agent/agent.toml", "pi-0");
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().what));
  CHECK(config->is_uplink());
  CHECK(config->site.url == "https://localhost:8443");
  CHECK(config->site.ca_file == "/etc/flops-agent/ca.pem");
  CHECK(config->site.token_file == "/run/token");
  CHECK(config->site.program.filename() == "flops-site");
  CHECK(config->site.program.is_absolute());
  CHECK_FALSE(parse_config("device = 'pi-1'", "/etc/flops-agent/agent.toml", "pi-0")->is_uplink());

  CHECK(says(problems(site), "'ca_file' and 'token_file' are needed"));
  CHECK(says(problems("device = 'a'\n[site]\ntoken_file = 't'"), "[site]: 'url' is missing"));
  CHECK(says(problems("device = 'a'\n[site]\nurl = 'http://localhost'"), "'site.url': a URL must start with https://"));
  CHECK(says(problems(site + "ca_file = 'c'\ntoken_file = 't'\n[[dataset]]\ntag = 'm'\ntrain_samples='a'\n"
                             "train_labels='a'\ntest_samples='a'\ntest_labels='a'\n"),
             "the data of a site is that of its devices"));
}
