#include "flops/agent_daemon/daemon.hpp"

#include <csignal>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "agent.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/crash.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/service/control_groups.hpp"
#include "flops/service/journal.hpp"
#include "memory.hpp"
#include "state_lock.hpp"

namespace flops::agent {

void prepare_process() {
  limit_allocator();
  report_crashes();
  // OpenSSL writes to sockets that the peer may have closed.
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGHUP, SIG_IGN);  // until there is something to read anew
}

void prepare_log(const Identity& identity) {
  constexpr std::size_t lines_for_the_operator = 200;
  if (service::stderr_is_journal()) {
    service::log_to_journal("flops-agent");
  }
  log::set_field("FLOPS_DEVICE", identity.device.str());
  log::keep(lines_for_the_operator);
}

namespace {

void reload(Agent& agent, const std::filesystem::path& file) {
  if (auto config = load_config(file)) {
    agent.reload(*config);
  } else {
    log::error("configuration", "{} is not taken: {}", file.string(), config.error().what);
  }
}

// For as long as the loop runs.
void reload_on_hangup(boost::asio::signal_set& hangup, Agent& agent, const std::filesystem::path& file) {
  hangup.async_wait([&](boost::system::error_code error, int) {
    if (!error) {
      reload(agent, file);
      reload_on_hangup(hangup, agent, file);
    }
  });
}

}  // namespace

Result<> run_daemon(const Config& config, const Identity& identity, const std::filesystem::path& file) {
  if (auto made = make_folder(config.state_folder, 0700); !made) {
    return made;
  }
  const auto lock = lock_state(config.state_folder);
  if (!lock) {
    return fail(lock.error());
  }
  StorageOptions options;
  options.model_quota = static_cast<std::uint64_t>(config.model_quota_mb) << 20U;
  auto storage = Storage::open(config.state_folder, Damaged::set_aside, unix_ms(SystemClock().wall()), options);
  if (!storage) {
    return fail(storage.error());
  }
  Config started_with = config;
  started_with.trainer_control_group = service::divide_control_group().value_or("");
  boost::asio::io_context loop(1);
  Agent agent(loop, started_with, identity, *std::move(storage));
  boost::asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&](boost::system::error_code error, int) {
    if (error) {
      return;
    }
    agent.stop();
    signals.async_wait([&loop](boost::system::error_code again, int) {
      if (!again) {
        loop.stop();  // a second signal: somebody is in a hurry
      }
    });
  });
  boost::asio::signal_set hangup(loop, SIGHUP);
  reload_on_hangup(hangup, agent, file);
  if (auto started = agent.start(); !started) {
    return started;
  }
  loop.run();
  if (agent.failure()) {
    return fail(*agent.failure());
  }
  log::info("agent", "stopped");
  return {};
}

}  // namespace flops::agent
