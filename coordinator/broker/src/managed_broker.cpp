#include "flops/broker/managed_broker.hpp"

#include <csignal>
#include <random>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/core/backoff.hpp"
#include "flops/core/log.hpp"
#include "flops/process/child.hpp"

namespace flops::broker {

using namespace std::chrono_literals;

struct ManagedBroker::State : std::enable_shared_from_this<State> {
  State(boost::asio::any_io_executor executor, ManagedBrokerOptions settings)
      : loop(executor), options(std::move(settings)), restart_timer(executor) {}

  Result<> spawn() {
    process::Command command;
    command.program = options.program;
    command.arguments = {"-c", options.configuration.string()};
    command.log_file = options.log;
    auto spawned = process::Child::spawn(loop, command, [weak = weak_from_this()](process::Exit exit) {
      if (const auto self = weak.lock()) {
        self->ended(exit);
      }
    });
    if (!spawned) {
      return fail(spawned.error());
    }
    child = *std::move(spawned);
    problem.clear();
    log::info("broker", "mosquitto runs as process {}", child->pid());
    return {};
  }

  void ended(process::Exit exit) {
    if (stopped) {
      auto done = std::exchange(on_stopped, {});
      if (done) {
        done();
      }
      return;
    }
    problem = fmt::format("mosquitto {}; see {}", exit.describe(), options.log.string());
    log::error("broker", "{}", problem);
    restart_timer.expires_after(backoff.next(random));
    restart_timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
      const auto self = weak.lock();
      if (error || !self || self->stopped) {
        return;
      }
      if (auto spawned = self->spawn(); !spawned) {
        self->problem = spawned.error().what;
        log::error("broker", "{}", self->problem);
      }
    });
  }

  boost::asio::any_io_executor loop;
  ManagedBrokerOptions options;
  boost::asio::steady_timer restart_timer;
  std::unique_ptr<process::Child> child;
  std::string problem;
  Backoff backoff{500ms, 30s};
  std::minstd_rand random{std::random_device{}()};
  bool stopped = false;
  std::function<void()> on_stopped;
};

ManagedBroker::ManagedBroker(std::shared_ptr<State> state) : state_(std::move(state)) {}

ManagedBroker::~ManagedBroker() {
  state_->stopped = true;
}

Result<std::unique_ptr<ManagedBroker>> ManagedBroker::start(boost::asio::any_io_executor loop,
                                                            ManagedBrokerOptions options) {
  auto state = std::make_shared<State>(std::move(loop), std::move(options));
  if (auto spawned = state->spawn(); !spawned) {
    return fail(spawned.error(), "starting the managed broker (package mosquitto)");
  }
  return std::unique_ptr<ManagedBroker>(new ManagedBroker(std::move(state)));
}

int ManagedBroker::pid() const {
  return state_->child && state_->child->running() ? state_->child->pid() : -1;
}

const std::string& ManagedBroker::problem() const {
  return state_->problem;
}

void ManagedBroker::reload() {
  if (state_->child) {
    state_->child->signal(SIGHUP);
  }
}

void ManagedBroker::stop(std::function<void()> done) {
  state_->stopped = true;
  state_->restart_timer.cancel();
  if (!state_->child || !state_->child->running()) {
    done();
    return;
  }
  state_->on_stopped = std::move(done);
  state_->child->stop(5s);
}

namespace {

// Below those that Linux lends to outgoing connections (32768 and above): one of these, seen free and then lent before
// its server listens, would keep the server from starting.
constexpr std::uint16_t lowest_port = 10'240;
constexpr std::uint16_t highest_port = 32'767;
constexpr int port_attempts = 64;

Result<> try_port(const boost::asio::ip::address& address, std::uint16_t port) {
  using boost::asio::ip::tcp;
  boost::system::error_code error;
  boost::asio::io_context context;
  tcp::acceptor acceptor(context);
  const tcp::endpoint endpoint(address, port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) {
    acceptor.bind(endpoint, error);
  }
  return error ? fail(ErrorKind::permanent, "no free port on {}: {}", address.to_string(), error.message())
               : Result<>();
}

}  // namespace

Result<std::uint16_t> free_port(const std::string& address) {
  boost::system::error_code error;
  const auto parsed = boost::asio::ip::make_address(address, error);
  if (error) {
    return fail(ErrorKind::permanent, "'{}' is not an IP address", address);
  }
  std::random_device random;
  std::uniform_int_distribution<int> ports(lowest_port, highest_port);
  Result<> free;
  for (int attempt = 0; attempt < port_attempts; ++attempt) {
    const auto port = static_cast<std::uint16_t>(ports(random));
    free = try_port(parsed, port);
    if (free) {
      return port;
    }
  }
  return fail(free.error());
}

}  // namespace flops::broker
