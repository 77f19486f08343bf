#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "flops/core/fd.hpp"
#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/test/temporary_folder.hpp"
#include "flops/test/wait.hpp"

using namespace flops;
using namespace std::chrono_literals;
using process::Child;
using process::Command;
using process::Exit;

namespace {

struct Outcome {
  std::optional<Exit> exit;
  std::string output;
};

// Runs a shell script to its end, with its output in a file.
Outcome run(const std::string& script, Command command = {}) {
  boost::asio::io_context loop;
  const test::TemporaryFolder folder;
  const auto log = folder / "log";
  command.program = "/bin/sh";
  command.arguments = {"-c", script};
  command.log_file = log;
  Outcome outcome;
  auto child = Child::spawn(loop.get_executor(), command, [&](Exit exit) { outcome.exit = exit; });
  REQUIRE_MESSAGE(child.has_value(), child.error().what);
  loop.run_for(30s);
  outcome.output = read_file(log).value_or("");
  return outcome;
}

}  // namespace

TEST_CASE("child: exit status and signal are told apart") {
  const Outcome status = run("exit 3");
  REQUIRE(status.exit.has_value());
  CHECK_FALSE(status.exit->signalled);
  CHECK(status.exit->code == 3);
  CHECK(status.exit->describe() == "exited with status 3");
  const Outcome killed = run("kill -9 $$");
  REQUIRE(killed.exit.has_value());
  CHECK(killed.exit->signalled);
  CHECK(killed.exit->code == SIGKILL);
}

TEST_CASE("child: a missing program is an error, not a child") {
  boost::asio::io_context loop;
  Command command;
  command.program = "/nowhere/flops-none";
  CHECK_FALSE(Child::spawn(loop.get_executor(), command, {}).has_value());
  command.program = "flops-no-such-program";
  CHECK_FALSE(Child::spawn(loop.get_executor(), command, {}).has_value());
}

TEST_CASE("child: it gets its environment, limits and priority, and no descriptor it was not given") {
  Command command;
  command.environment = {{"FLOPS_X", "seventeen"}};
  command.nice = 7;
  command.data_limit_bytes = 64U << 20U;
  const Fd leak(::open("/dev/null", O_RDONLY));  // without CLOEXEC on purpose
  const Fd given(::open("/dev/zero", O_RDONLY));
  command.descriptors = {{given.get(), 3}};
  const Outcome outcome = run(
      "echo \"x=$FLOPS_X\"; echo \"nice=$(nice)\"; echo \"data=$(ulimit -d)\"; echo \"fd3=$(readlink /proc/$$/fd/3)\"; "
      // The shell opens descriptors of its own, so the leaked one is looked for by what it names.
      "for n in 4 5 6 7 8 9; do [ \"$(readlink /proc/$$/fd/$n)\" != /dev/null ] || echo leak=yes; done",
      command);
  CHECK(outcome.output.find("x=seventeen") != std::string::npos);
  CHECK(outcome.output.find("nice=7") != std::string::npos);
  CHECK(outcome.output.find("data=65536") != std::string::npos);
  CHECK(outcome.output.find("fd3=/dev/zero") != std::string::npos);
  CHECK_MESSAGE(outcome.output.find("leak=yes") == std::string::npos, outcome.output);
}

TEST_CASE("child: one in the background takes only what others leave, and so do its children") {
  struct Row {
    const char* name;
    bool background;
    int policy;
    const char* io_class;
    bool session;
  };
  for (const Row& row :
       {Row{"background", true, SCHED_IDLE, "idle", true}, Row{"only nice", false, SCHED_OTHER, "none", false}}) {
    CAPTURE(row.name);
    Command command;
    command.nice = 12;
    command.background = row.background;
    command.oom_score_adj = 1000;
    // `cat` and `ionice` are children of the shell: what they say of themselves is inherited.
    const Outcome outcome =
        run("cat /proc/self/stat; echo \"oom=$(cat /proc/self/oom_score_adj)\"; echo \"io=$(ionice)\"; "
            "echo \"group=$(cat /proc/self/autogroup 2>/dev/null)\"; echo \"pid=$$\"",
            command);
    CAPTURE(outcome.output);
    std::istringstream fields(outcome.output.substr(outcome.output.rfind(')') + 2));
    std::vector<std::string> stat(std::istream_iterator<std::string>(fields), {});
    REQUIRE(stat.size() > 38);  // proc_pid_stat(5): field 3 is the first here
    CHECK(stat[38] == std::to_string(row.policy));
    CHECK(stat[16] == "12");
    CHECK((outcome.output.find("pid=" + stat[3] + "\n") != std::string::npos) == row.session);
    CHECK(outcome.output.find("oom=1000") != std::string::npos);
    CHECK(outcome.output.find(std::string("io=") + row.io_class) != std::string::npos);
    // Kernels without autogroups say nothing.
    if (outcome.output.find("group=/autogroup") != std::string::npos && row.background) {
      CHECK(outcome.output.find("nice 19") != std::string::npos);
    }
  }
}

TEST_CASE("child: stop asks first, then kills") {
  boost::asio::io_context loop;
  std::optional<Exit> exit;
  Command command;
  command.program = "/bin/sh";
  const test::TemporaryFolder folder;
  const auto ready = folder / "ready";
  const bool stubborn = [] {
    bool value = false;
    SUBCASE("a polite one") {
      value = false;
    }
    SUBCASE("a stubborn one") {
      value = true;
    }
    return value;
  }();
  command.arguments = {"-c", std::string(stubborn ? "trap '' TERM; " : "") + ": > " + ready.string() +
                                 "; while :; do read x < /dev/zero; done"};
  auto child = Child::spawn(loop.get_executor(), command, [&](Exit ended) { exit = ended; });
  REQUIRE(child.has_value());
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!std::filesystem::exists(ready) && std::chrono::steady_clock::now() < deadline) {
    loop.run_for(10ms);
  }
  (*child)->stop(200ms);
  while (!exit && std::chrono::steady_clock::now() < deadline) {
    loop.run_for(10ms);
  }
  REQUIRE(exit.has_value());
  CHECK(exit->signalled);
  CHECK(exit->code == (stubborn ? SIGKILL : SIGTERM));
  CHECK_FALSE((*child)->running());
}

TEST_CASE("child: it dies with its parent, however that ends") {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  const pid_t parent = ::fork();
  REQUIRE(parent >= 0);
  if (parent == 0) {
    boost::asio::io_context loop;
    Command command;
    command.program = "/bin/sh";
    command.arguments = {"-c", "while :; do read x < /dev/zero; done"};
    auto child = Child::spawn(loop.get_executor(), command, {});
    const int pid = child ? (*child)->pid() : -1;
    if (::write(pipe_ends[1], &pid, sizeof pid) != sizeof pid) {
      ::_exit(1);
    }
    ::pause();
    ::_exit(0);
  }
  int grandchild = -1;
  REQUIRE(::read(pipe_ends[0], &grandchild, sizeof grandchild) == sizeof grandchild);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
  REQUIRE(grandchild > 0);
  CHECK(::kill(grandchild, 0) == 0);
  ::kill(parent, SIGKILL);
  REQUIRE(::waitpid(parent, nullptr, 0) == parent);
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  const auto gone = [&] {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string pid, name, state;
    stat >> pid >> name >> state;
    return !stat || state == "Z";
  };
  while (!gone() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(gone());
}

TEST_CASE("child: its output can go into a file of its own, and files do not grow beyond their limit") {
  const test::TemporaryFolder folder;
  Command command;
  command.output_file = folder / "output";
  const Outcome outcome = run("echo said; echo complained >&2; ulimit -f", command);
  CHECK(outcome.output == "complained\n");
  CHECK(read_file(folder / "output").value() == "said\nunlimited\n");
  command.file_limit_bytes = 4096;
  const Outcome limited = run("exec head -c 8192 /dev/zero", command);
  REQUIRE(limited.exit.has_value());
  CHECK(limited.exit->signalled);
  CHECK(limited.exit->code == SIGXFSZ);
  CHECK(std::filesystem::file_size(folder / "output") == 4096);
}

TEST_CASE("child: what is waited for too long is ended with its children") {
  const test::TemporaryFolder folder;
  Command command;
  command.program = "/bin/sh";
  command.arguments = {"-c", "sleep 60 & echo $!; wait"};
  command.output_file = folder / "output";
  const auto ended = process::run_to_end(command, 500ms);
  REQUIRE(ended.has_value());
  CHECK(ended->signalled);
  const int grandchild = std::stoi(read_file(folder / "output").value());
  CHECK(test::wait_until([&] {
    const std::string status = read_file(fmt::format("/proc/{}/stat", grandchild)).value_or("");
    return status.empty() || status.contains(") Z ");
  }));
}
