#include "program.hpp"

#include <csignal>
#include <optional>

#include <boost/asio/steady_timer.hpp>

#include "flops/core/file.hpp"
#include "flops/core/log.hpp"

namespace flops::faults {

using namespace std::chrono_literals;

namespace {
constexpr auto stop_patience = 30s;
constexpr auto restart_pause = 1s;
}  // namespace

Program::Program(Stage& stage, std::string name, process::Command command)
    : stage_(stage), name_(std::move(name)), command_(std::move(command)) {
  command_.log_file = stage_.log_of(name_);
}

Result<> Program::start() {
  end_expected_ = false;
  auto child = process::Child::spawn(stage_.loop.get_executor(), command_, [this](process::Exit exit) { ended(exit); });
  if (!child) {
    return fail(child.error(), name_);
  }
  child_ = *std::move(child);
  return {};
}

void Program::ended(process::Exit exit) {
  last_exit_ = exit;
  if (end_expected_) {
    return;
  }
  if (!may_end_) {
    stage_.problem(fmt::format("{} ended by itself: it {}", name_, exit.describe()));
  }
  auto timer = std::make_shared<boost::asio::steady_timer>(stage_.loop, restart_pause);
  timer->async_wait([this, timer](boost::system::error_code) {
    if (auto started = end_expected_ || running() ? Result<>() : start(); !started) {
      stage_.problem(started.error().what);
    }
  });
}

void Program::kill_now() {
  end_expected_ = true;
  if (running()) {
    child_->signal(SIGKILL);
  }
}

Result<> Program::kill() {
  kill_now();
  return stage_.until(fmt::format("the end of {}", name_), [this] { return !running(); });
}

Result<> Program::stop() {
  end_expected_ = true;
  if (!running()) {
    return {};
  }
  child_->signal(SIGTERM);
  if (auto ended = stage_.until(
          fmt::format("{} to stop after SIGTERM", name_), [this] { return !running(); }, stop_patience);
      !ended) {
    (void)kill();
    return ended;
  }
  if (last_exit_.signalled || last_exit_.code != 0) {
    stage_.problem(fmt::format("{} was asked to stop and {}", name_, last_exit_.describe()));
  }
  return {};
}

Result<> run_tool(Stage& stage, const std::string& program, std::vector<std::string> arguments) {
  const auto output = stage.folder / "tool.out";
  std::filesystem::remove(output);
  process::Command command;
  command.program = program;
  command.arguments = std::move(arguments);
  command.log_file = output;
  std::optional<process::Exit> exit;
  auto child = process::Child::spawn(stage.loop.get_executor(), command, [&](process::Exit how) { exit = how; });
  if (!child) {
    return fail(child.error());
  }
  if (auto ended = stage.until(fmt::format("{} to end", program), [&] { return exit.has_value(); }); !ended) {
    return ended;
  }
  if (exit->signalled || exit->code != 0) {
    return fail(ErrorKind::permanent, "{} {} {}: {}", program, fmt::join(command.arguments, " "), exit->describe(),
                read_file(output).value_or(""));
  }
  return {};
}

}  // namespace flops::faults
