#include "flops/uplink/managed_uplink.hpp"

#include <random>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "flops/core/backoff.hpp"
#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/process/child.hpp"

namespace flops::uplink {
namespace {

using namespace std::chrono_literals;

constexpr int not_enrolled = 77;  // of `flops-agent run`
constexpr auto stop_grace = 10s;  // it says goodbye above

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string agent_configuration(const ManagedUplinkOptions& options) {
  std::string text = fmt::format(
      "# Written by flops-coordinator at each start.\n"
      "device = {}\nlog_level = {}\n\n[state]\nfolder = \"state\"\n",
      toml_text(options.device), toml_text(options.log_level));
  if (!options.joining) {
    text += fmt::format("\n[offline]\ncontinue = {}\n", options.offline_continue);
    text += fmt::format("\n[site]\nurl = {}\nca_file = {}\ntoken_file = {}\n", toml_text(options.site_url),
                        toml_text(options.site_ca.string()), toml_text(options.site_token.string()));
  }
  return text;
}

struct ManagedUplink::State : std::enable_shared_from_this<State> {
  State(boost::asio::any_io_executor executor, ManagedUplinkOptions settings)
      : loop(executor), options(std::move(settings)), restart_timer(executor) {}

  [[nodiscard]] std::filesystem::path configuration() const { return options.folder / "agent.toml"; }
  [[nodiscard]] std::filesystem::path log() const { return options.folder / "agent.log"; }

  Result<> spawn(std::vector<std::string> arguments) {
    process::Command command;
    command.program = options.program;
    command.arguments = std::move(arguments);
    command.arguments.insert(command.arguments.end(), {"--config", configuration().string()});
    command.log_file = log();
    auto spawned = process::Child::spawn(loop, command, [weak = weak_from_this()](process::Exit exit) {
      if (const auto self = weak.lock()) {
        self->ended(exit);
      }
    });
    if (!spawned) {
      return fail(spawned.error());
    }
    child = *std::move(spawned);
    return {};
  }

  Result<> run() {
    enrolling = false;
    auto spawned = spawn({"run"});
    if (spawned) {
      problem.clear();
      log::info("uplink", "flops-agent runs as process {}", child->pid());
    }
    return spawned;
  }

  Result<> enrol() {
    auto token = read_file(options.token_file);
    if (!token) {
      return fail(token.error(), "the enrolment token for the coordinator above (parent.token_file)");
    }
    enrolling = true;
    token->resize(token->find_last_not_of(" \t\r\n") + 1);
    std::vector<std::string> arguments{"enroll", "--coordinator", options.parent_url, "--token", *token};
    if (options.joining) {
      arguments.insert(arguments.end(), {"--authority-request", options.joining->authority_request.string(),
                                         "--authority-certificate", options.joining->authority_certificate.string()});
    }
    return spawn(std::move(arguments));
  }

  Result<> begin() { return options.joining ? enrol() : run(); }

  void ended(process::Exit exit) {
    if (stopped) {
      if (const auto done = std::exchange(on_stopped, {})) {
        done();
      }
      return;
    }
    const bool enrolled = enrolling && !exit.signalled && exit.code == 0;
    if (enrolled && options.joining) {
      problem.clear();
      options.joining->joined();
      return;
    }
    const bool asks = !enrolling && !exit.signalled && exit.code == not_enrolled;
    Result<> next = fail(ErrorKind::transient, "flops-agent {} {}; see {}", enrolling ? "enroll" : "run",
                         exit.describe(), log().string());
    if (enrolled) {
      next = run();
    } else if (asks) {
      next = enrol();
    }
    if (!next) {
      again_later(next.error());
    }
  }

  void again_later(const Error& error) {
    problem = error.what;
    log::error("uplink", "{}", problem);
    restart_timer.expires_after(backoff.next(random));
    restart_timer.async_wait([weak = weak_from_this()](boost::system::error_code cancelled) {
      const auto self = weak.lock();
      if (cancelled || !self || self->stopped) {
        return;
      }
      if (auto spawned = self->begin(); !spawned) {
        self->again_later(spawned.error());
      }
    });
  }

  boost::asio::any_io_executor loop;
  ManagedUplinkOptions options;
  boost::asio::steady_timer restart_timer;
  std::unique_ptr<process::Child> child;
  std::string problem;
  bool enrolling = false;
  Backoff backoff{500ms, 60s};
  std::minstd_rand random{std::random_device{}()};
  bool stopped = false;
  std::function<void()> on_stopped;
};

ManagedUplink::ManagedUplink(std::shared_ptr<State> state) : state_(std::move(state)) {}

ManagedUplink::~ManagedUplink() {
  state_->stopped = true;
}

Result<std::unique_ptr<ManagedUplink>> ManagedUplink::start(boost::asio::any_io_executor loop,
                                                            ManagedUplinkOptions options) {
  auto state = std::make_shared<State>(std::move(loop), std::move(options));
  auto begun = make_folder(state->options.folder, 0700);
  begun = begun ? replace_file(state->configuration(), agent_configuration(state->options)) : begun;
  if (begun && state->options.joining) {
    // A token that is not there yet is waited for.
    if (auto asked = state->enrol(); !asked) {
      state->again_later(asked.error());
    }
  } else if (begun) {
    begun = state->run();
  }
  if (!begun) {
    return fail(begun.error(), "starting the uplink (flops-agent)");
  }
  return std::unique_ptr<ManagedUplink>(new ManagedUplink(std::move(state)));
}

int ManagedUplink::pid() const {
  return state_->child && state_->child->running() && !state_->enrolling ? state_->child->pid() : -1;
}

const std::string& ManagedUplink::problem() const {
  return state_->problem;
}

void ManagedUplink::stop(std::function<void()> done) {
  state_->stopped = true;
  state_->restart_timer.cancel();
  if (!state_->child || !state_->child->running()) {
    done();
    return;
  }
  state_->on_stopped = std::move(done);
  state_->child->stop(stop_grace);
}

}  // namespace flops::uplink
