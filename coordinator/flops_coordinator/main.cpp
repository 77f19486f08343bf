// flops-coordinator: command line, signals, exit codes. Everything else is in coordinator/daemon.
#include <csignal>
#include <cstdio>
#include <filesystem>

#include <malloc.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "flops/coordinator/coordinator.hpp"
#include "flops/coordinator/site_authority.hpp"
#include "flops/core/config.hpp"
#include "flops/core/crash.hpp"
#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/manual/manual.hpp"
#include "flops/service/journal.hpp"

namespace {

constexpr const char* default_config_file = "/etc/flops-coordinator/coordinator.toml";
constexpr const char* footer =
    "Example: a coordinator with a configuration of its own.\n"
    "  flops-coordinator --print-config > coordinator.toml\n"
    "  flops-coordinator --config coordinator.toml\n\n"
    "Exit codes: 0 stopped on request, 1 cannot start (the log says why), 2 wrong use, 78 wrong configuration.";

flops::manual::Page manual_page() {
  return {"the server of a federated-learning fleet",
          {{default_config_file, "The configuration; --print-config explains every setting."},
           {"/var/lib/flops-coordinator", "State: database, keys, models and updates."},
           {"/var/lib/flops-coordinator/ca.pem", "The fleet's CA, for flopsctl."},
           {"/var/lib/flops-coordinator/admin.token", "A token that may do everything, for flopsctl."}},
          {"flopsctl", "flops-agent", "mosquitto"}};
}

// For as long as the loop runs.
void reload_on_hangup(boost::asio::signal_set& hangup, flops::coordinator::Coordinator& coordinator,
                      const std::filesystem::path& file) {
  hangup.async_wait([&](boost::system::error_code error, int) {
    if (error) {
      return;
    }
    if (auto config = flops::coordinator::load_config(file)) {
      coordinator.reload(*config);
    } else {
      flops::log::error("coordinator", "{} is not taken: {}", file.string(), config.error().what);
    }
    reload_on_hangup(hangup, coordinator, file);
  });
}

int run(const flops::coordinator::Config& config, const std::filesystem::path& file) {
  auto authority = flops::coordinator::await_authority(config);
  if (!authority) {
    flops::log::error("coordinator", "cannot start: {}", authority.error().what);
    return 1;
  }
  if (!*authority) {
    return 0;
  }
  boost::asio::io_context loop(1);
  auto coordinator = flops::coordinator::Coordinator::start(loop.get_executor(), config);
  if (!coordinator) {
    flops::log::error("coordinator", "cannot start: {}", coordinator.error().what);
    return 1;
  }
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code error, int) {
    if (!error) {
      flops::log::info("coordinator", "stopping");
      (*coordinator)->stop([&loop] { loop.stop(); });
    }
  });
  boost::asio::signal_set hangup(loop, SIGHUP);
  reload_on_hangup(hangup, **coordinator, file);
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Few arenas: an idle coordinator stays small. What a round frees it needs again at once, so a few MiB are kept.
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);  // until there is something to read anew
  flops::report_crashes();

  CLI::App app("The coordinator of a FLOps Edge fleet: runs the broker, enrols devices, trains models round by round.",
               "flops-coordinator");
  app.footer(footer);
  std::filesystem::path file = default_config_file;
  bool check = false;
  bool print = false;
  app.add_option("-c,--config", file, "Configuration file (TOML)")->type_name("FILE")->capture_default_str();
  app.add_flag("--check-config", check, "Read the configuration, say everything that is wrong with it, and exit");
  app.add_flag("--print-config", print, "Print every setting with its value, the default without --config, and exit");
  app.set_version_flag("--version", std::string(flops::version));
  const flops::manual::Commands about(app, manual_page());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (const auto text = about.answer()) {
    std::fputs(text->c_str(), stdout);
    return 0;
  }
  // Printing needs no file, and shows the values of one that is named.
  const bool defaults = print && app.count("--config") == 0;
  auto config = defaults ? flops::Result<flops::coordinator::Config>(flops::coordinator::Config())
                         : flops::coordinator::load_config(file);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().what.c_str());
    return flops::exit_bad_configuration;
  }
  if (print) {
    std::fputs(flops::coordinator::config_reference(*config).c_str(), stdout);
    return 0;
  }
  if (check) {
    std::printf("%s: good\n", file.c_str());
    return 0;
  }
  auto level = flops::log::Level::info;
  (void)flops::log::parse_level(config->log_level, level);
  flops::log::start("flops-coordinator", level);
  if (flops::service::stderr_is_journal()) {
    flops::service::log_to_journal("flops-coordinator");
  }
  return run(*config, file);
}
