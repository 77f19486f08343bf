#include "flops/agent_daemon/daemon.hpp"

#include <csignal>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "agent.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/crash.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "memory.hpp"
#include "state_lock.hpp"

namespace flops::agent {

void prepare_process() {
  limit_allocator();
  report_crashes();
  // OpenSSL writes to sockets that the peer may have closed.
  (void)std::signal(SIGPIPE, SIG_IGN);
}

Result<> run_daemon(const Config& config, const Identity& identity) {
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
  boost::asio::io_context loop(1);
  Agent agent(loop, config, identity, *std::move(storage));
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
