// flops-agent: the command line.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>

#include "flops/agent_config/config.hpp"
#include "flops/agent_daemon/daemon.hpp"
#include "flops/agent_doctor/doctor.hpp"
#include "flops/agent_enrol/enrol.hpp"
#include "flops/agent_enrol/state_owner.hpp"
#include "flops/core/backoff.hpp"
#include "flops/core/config.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/manual/manual.hpp"

namespace {

using namespace flops;

constexpr int exit_failure = 1;
constexpr int exit_usage = 64;         // EX_USAGE
constexpr int exit_unavailable = 75;   // EX_TEMPFAIL: the same command may work later
constexpr int exit_not_enrolled = 77;  // EX_NOPERM

constexpr const char* footer = R"(
Example: a device joins a fleet; the service of the Debian package then starts by itself.
  flops-agent enroll --coordinator https://hub:8443 --token flops1...

Example: the same by hand, in a folder of one's own.
  cat > agent.toml <<END
  device = "pi-1"
  [state]
  folder = "state"
  END
  flops-agent enroll --config agent.toml --coordinator https://hub:8443 --token flops1...
  flops-agent run --config agent.toml

Exit status: 0 success, 1 failure, 64 wrong command line, 75 try again later, 77 not enrolled or refused,
78 wrong configuration.)";

constexpr const char* default_config_file = "/etc/flops-agent/agent.toml";

struct Arguments {
  std::string config = default_config_file;
  std::string coordinator;
  std::string token;
  std::string authority_request;
  std::string authority_certificate;
  std::filesystem::path output = std::filesystem::temp_directory_path();
  bool json = false;
  bool new_key = false;
  bool no_wait = false;
  bool check_config = false;
  bool print_config = false;
};

int report(const Error& error, int code = exit_failure) {
  fmt::print(stderr, "flops-agent: {}\n", error.what);
  return code;
}

int exit_code_of(const Error& error) {
  const bool later = error.kind == ErrorKind::transient || error.kind == ErrorKind::resource;
  return error.kind == ErrorKind::denied ? exit_not_enrolled : later ? exit_unavailable : exit_failure;
}

// The host may have got another name since the device was enrolled.
void keep_enrolled_name(agent::Config& config) {
  auto identity = config.device_named || !agent::is_enrolled(config.state_folder)
                      ? Result<agent::Identity>(fail(ErrorKind::permanent, "none"))
                      : agent::load_identity(config.state_folder);
  if (identity) {
    config.device = identity->device;
  }
}

int run(agent::Config config, const Arguments& arguments) {
  if (!agent::is_enrolled(config.state_folder)) {
    fmt::print(stderr,
               "flops-agent: this device is not enrolled ({} holds no identity). Get a token from the operator "
               "(flopsctl token create) and run:\n"
               "  flops-agent enroll --config {} --coordinator https://HOST:PORT --token TOKEN\n",
               config.state_folder.string(), arguments.config);
    return exit_not_enrolled;
  }
  auto identity = agent::load_identity(config.state_folder);
  if (!identity) {
    return report(identity.error());
  }
  keep_enrolled_name(config);
  if (identity->device != config.device) {
    fmt::print(stderr, "flops-agent: enrolled as '{}', but {} says device = \"{}\": enrol again under the new name\n",
               identity->device, arguments.config, config.device);
    return exit_bad_configuration;
  }
  agent::prepare_log(*identity);
  const auto ended = agent::run_daemon(config, *identity, arguments.config);
  return ended ? 0 : report(ended.error());
}

// What is done next, where it is not known whether a service manager does it.
std::string next_step(const Arguments& arguments) {
  return arguments.config == default_config_file
             ? std::string("the service flops-agent starts now; without systemd: flops-agent run")
             : fmt::format("now run: flops-agent run --config {}", arguments.config);
}

int enroll(const agent::Config& config, const Arguments& arguments) {
  agent::Applicant applicant{config.device, config.is_uplink(), {}, arguments.new_key};
  if (!arguments.authority_request.empty()) {
    applicant.site = true;
    applicant.authority = agent::AuthorityFiles{arguments.authority_request, arguments.authority_certificate};
  }
  const auto attempt = [&] {
    return agent::enrol(config.state_folder, applicant, arguments.coordinator, arguments.token);
  };
  auto identity = attempt();
  // A device that has just started gets the time from the network within minutes: no reason to give up.
  Backoff backoff(std::chrono::seconds(1), std::chrono::seconds(60));
  std::mt19937_64 random{std::random_device{}()};
  std::string said;
  const auto may_become_good = [&] {
    const ErrorKind kind = identity ? ErrorKind::bug : identity.error().kind;
    return kind == ErrorKind::clock || (kind == ErrorKind::resource && !arguments.no_wait);
  };
  for (; may_become_good(); identity = attempt()) {
    if (std::exchange(said, identity.error().what) != identity.error().what) {
      const bool approval = identity.error().kind == ErrorKind::resource;
      log::warn("enroll", "{}; waiting{}", identity.error().what, approval ? "" : " until it is right");
    }
    std::this_thread::sleep_for(backoff.next(random));
  }
  if (!identity) {
    return report(identity.error(), exit_code_of(identity.error()));
  }
  fmt::print("enrolled as {} in fleet {}; {}\n", identity->device, identity->fleet, next_step(arguments));
  return 0;
}

int status(const agent::Config& config) {
  auto text = agent::status_text(config);
  if (!text) {
    return report(text.error());
  }
  fmt::print("{}", *text);
  return 0;
}

int doctor(const agent::Config& config, const Arguments& arguments) {
  const auto findings = agent::examine(config, agent::newest_time_seen(config));
  fmt::print("{}", arguments.json ? agent::to_json(findings) + "\n" : agent::to_text(findings));
  return agent::has_problem(findings) ? exit_failure : 0;
}

int diag(const agent::Config& config, const Arguments& arguments, const std::string& log) {
  fmt::print(stderr, "looking at this device; this takes up to a minute\n");
  auto packed = agent::pack_diagnosis(config, arguments.config, arguments.output, log);
  if (!packed) {
    return report(packed.error());
  }
  fmt::print("{}\n", packed->string());
  return 0;
}

// What is offered to the fleet; of each set the reason when it is not.
int datasets(const agent::Config& config) {
  const auto findings = agent::examine_datasets(config);
  fmt::print("{}", agent::to_text(findings));
  return agent::has_problem(findings) ? exit_failure : 0;
}

manual::Page manual_page() {
  return {"takes part in federated learning with the data of this device",
          {{default_config_file, "The configuration; --print-config explains every setting."},
           {"/var/lib/flops-agent", "State: identity, tasks and models. Only the service's user may read it."}},
          {"flopsctl", "flops-coordinator"}};
}

// Everything but `run`.
int by_hand(const agent::Config& config, const Arguments& arguments, const CLI::App& app, const std::string& log) {
  if (app.got_subcommand("enroll")) {
    return enroll(config, arguments);
  }
  if (app.got_subcommand("doctor")) {
    return doctor(config, arguments);
  }
  if (app.got_subcommand("diag")) {
    return diag(config, arguments, log);
  }
  return app.got_subcommand("datasets") ? datasets(config) : status(config);
}

int with_config(const Arguments& arguments, const CLI::App& app) {
  auto config = agent::load_config(arguments.config);
  if (!config) {
    return report(config.error(), exit_bad_configuration);
  }
  if (arguments.check_config) {
    fmt::print("{}: correct\n", arguments.config);
    return 0;
  }
  log::Level level = log::Level::info;
  (void)log::parse_level(config->log_level, level);
  log::start("flops-agent", level);
  if (arguments.print_config) {
    fmt::print("{}", agent::config_reference(*config));
    return 0;
  }
  if (app.got_subcommand("run")) {
    return run(*std::move(config), arguments);
  }
  const std::string log = app.got_subcommand("diag") ? agent::journal_lines() : "";  // root may, the service may not
  // An administrator's commands on the service's own files.
  if (auto became = agent::act_as_state_owner(config->state_folder); !became) {
    return report(became.error());
  }
  if (!app.got_subcommand("enroll")) {
    keep_enrolled_name(*config);
  }
  return by_hand(*config, arguments, app, log);
}

void add_enroll(CLI::App& app, Arguments& arguments) {
  auto* enrolling = app.add_subcommand("enroll", "Join a fleet: make a key, get a certificate");
  enrolling->add_option("--coordinator", arguments.coordinator, "Its HTTPS address, e.g. https://hub:8443")->required();
  enrolling->add_option("--token", arguments.token, "Enrolment token from the operator")->required();
  enrolling->add_flag("--new-key", arguments.new_key,
                      "With a new key in the place of the one there is: after the device was revoked");
  enrolling->add_flag("--no-wait", arguments.no_wait, "Do not wait for an approval by hand; try again later");
  auto* request = enrolling
                      ->add_option("--authority-request", arguments.authority_request,
                                   "Of a site: certificate request (PEM) of its own authority")
                      ->type_name("FILE");
  auto* certificate = enrolling
                          ->add_option("--authority-certificate", arguments.authority_certificate,
                                       "Where its certificate, issued by the fleet's authority, is written")
                          ->type_name("FILE");
  request->needs(certificate);
  certificate->needs(request);
}

void add_commands(CLI::App& app, Arguments& arguments) {
  app.add_subcommand("run", "Serve the fleet until SIGTERM");
  add_enroll(app, arguments);
  app.add_subcommand("status", "Show identity, tasks and models of this device");
  app.add_subcommand("doctor", "Look for what keeps this device from taking part, and say what helps")
      ->add_flag("--json", arguments.json, "As JSON");
  app.add_subcommand("diag", "Pack logs and state into an archive, without keys and without data")
      ->add_option("--output", arguments.output, "Folder for the archive")
      ->capture_default_str();
  app.add_subcommand("datasets", "Show the data sets of this device, and what is wrong with them");
}

}  // namespace

int main(int argc, char** argv) {
  agent::prepare_process();
  Arguments arguments;
  CLI::App app("FLOps Edge agent: takes part in federated learning with the data of this device.", "flops-agent");
  app.set_version_flag("--version", std::string(version));
  app.footer(footer);
  app.fallthrough();
  app.require_subcommand(0, 1);
  auto* config = app.add_option("-c,--config", arguments.config, "Configuration file (TOML)")
                     ->type_name("FILE")
                     ->capture_default_str();
  app.add_flag("--check-config", arguments.check_config, "Only say whether the configuration is correct");
  app.add_flag("--print-config", arguments.print_config, "Print all settings with their values, or the defaults");
  add_commands(app, arguments);
  const manual::Commands about(app, manual_page());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  if (const auto text = about.answer()) {
    fmt::print("{}", *text);
    return 0;
  }
  if (app.get_subcommands().empty() && !arguments.check_config && !arguments.print_config) {
    fmt::print(stderr, "{}", app.help());
    return exit_usage;
  }
  if (arguments.print_config && config->empty()) {
    fmt::print("{}", agent::config_reference());
    return 0;
  }
  return with_config(arguments, app);
}
