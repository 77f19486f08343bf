#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "flops/core/log.hpp"
#include "flops/core/version.hpp"
#include "flops/worker/worker.hpp"
#include "part_runner.hpp"

namespace {

constexpr const char* about =
    "Does a site's part of a run on the coordinator of the site, for flops-agent.\n\n"
    "An agent with [site] in its configuration starts this program by itself when a task comes; there is nothing to\n"
    "start by hand.\n";
constexpr const char* more = "Exit status: 0 done, 1 failed, 2 wrong usage.\n";

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

struct Arguments {
  int socket = -1;
  double idle_seconds = 120;
  int threads = 0;
  flops::site::SiteOptions site;
};

int work(const Arguments& arguments) {
  flops::log::start("flops-site", flops::log::Level::info);
  flops::site::PartRunner runner(arguments.site);
  const flops::worker::WorkerOptions options{
      arguments.socket, std::chrono::milliseconds(static_cast<std::int64_t>(arguments.idle_seconds * 1e3))};
  if (auto done = flops::worker::run_worker(options, runner); !done) {
    flops::log::error("worker", "{}", done.error().what);
    return exit_failed;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(about, "flops-site");
  app.footer(more);
  app.set_version_flag("--version", "flops-site " + std::string(flops::version));
  Arguments arguments;
  app.add_option("--worker-fd", arguments.socket, "Work for the agent at the other end of this socket")
      ->required()
      ->check(CLI::Range(3, 1'000'000));
  app.add_option("--idle-seconds", arguments.idle_seconds, "End after so long without a job")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "Of no effect: every worker gets it")->check(CLI::Range(0, 1024));
  app.add_option("--site-url", arguments.site.url, "The site's coordinator, https://host:port")->required();
  app.add_option("--site-ca-file", arguments.site.ca_file, "Its CA (PEM)")->required();
  app.add_option("--site-token-file", arguments.site.token_file, "A token of it, of role operator or admin")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_usage;
  }
  return work(arguments);
}
