#include "flops/process/child.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/core/fd.hpp"
#include "flops/core/log.hpp"

namespace flops::process {
namespace {

constexpr int first_inherited_fd = 3;

// Everything the child needs, prepared before fork: between fork and exec only system calls are safe.
struct Prepared {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<char*> argv;
  std::vector<std::string> environment;
  std::vector<char*> envp;
  std::string log_file;
  std::string output_file;
  std::string control_group;
  std::string oom_score_adj;
};

Result<std::string> find_program(const std::filesystem::path& program) {
  if (program.has_parent_path()) {
    if (::access(program.c_str(), X_OK) != 0) {
      return fail(ErrorKind::permanent, "program {} is missing or not executable", program.string());
    }
    return program.string();
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::filesystem::path candidate = std::filesystem::path(rest.substr(0, colon)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) {
      return candidate.string();
    }
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
  return fail(ErrorKind::permanent, "program {} was not found in PATH", program.string());
}

Result<Prepared> prepare(const Command& command) {
  auto program = find_program(command.program);
  if (!program) {
    return fail(program.error());
  }
  Prepared prepared;
  prepared.program = *program;
  prepared.arguments.push_back(*program);
  prepared.arguments.insert(prepared.arguments.end(), command.arguments.begin(), command.arguments.end());
  for (std::string& argument : prepared.arguments) {
    prepared.argv.push_back(argument.data());
  }
  prepared.argv.push_back(nullptr);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    prepared.environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : command.environment) {
    const std::string start = name + "=";
    std::erase_if(prepared.environment, [&](const std::string& entry) { return entry.starts_with(start); });
    prepared.environment.push_back(start + value);
  }
  for (std::string& entry : prepared.environment) {
    prepared.envp.push_back(entry.data());
  }
  prepared.envp.push_back(nullptr);
  prepared.log_file = command.log_file.string();
  prepared.output_file = command.output_file.string();
  prepared.control_group = command.control_group.empty() ? "" : (command.control_group / "cgroup.procs").string();
  prepared.oom_score_adj = std::to_string(command.oom_score_adj);
  return prepared;
}

// Moves the chosen descriptors to their numbers and closes all others.
bool arrange_descriptors(const Command& command) {
  int highest = first_inherited_fd - 1;
  for (const auto& [ours, theirs] : command.descriptors) {
    highest = std::max({highest, ours, theirs});
  }
  // First out of the way of each other, then into place.
  int parked[16];
  std::size_t count = 0;
  for (const auto& [ours, theirs] : command.descriptors) {
    if (count == std::size(parked)) {
      errno = E2BIG;
      return false;
    }
    parked[count] = ::fcntl(ours, F_DUPFD, highest + 1);
    if (parked[count++] < 0) {
      return false;
    }
  }
  count = 0;
  int last = first_inherited_fd - 1;
  for (const auto& [ours, theirs] : command.descriptors) {
    if (::dup2(parked[count++], theirs) < 0) {
      return false;
    }
    last = std::max(last, theirs);
  }
  return ::syscall(SYS_close_range, static_cast<unsigned>(last + 1), ~0U, 0U) == 0;
}

bool redirect_output(const Prepared& prepared) {
  if (!prepared.log_file.empty()) {
    const int fd = ::open(prepared.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (fd < 0 || ::dup2(fd, STDOUT_FILENO) < 0 || ::dup2(fd, STDERR_FILENO) < 0) {
      return false;
    }
  }
  if (prepared.output_file.empty()) {
    return true;
  }
  const int fd = ::open(prepared.output_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0640);
  return fd >= 0 && ::dup2(fd, STDOUT_FILENO) >= 0;
}

void write_own(const char* file, std::string_view text) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    [[maybe_unused]] const ssize_t n = ::write(fd, text.data(), text.size());
    ::close(fd);
  }
}

void step_back() {
  constexpr int ioprio_who_process = 1;
  constexpr int ioprio_class_idle = 3 << 13;
  (void)::syscall(SYS_ioprio_set, ioprio_who_process, 0, ioprio_class_idle);
  // Where the kernel groups processes by session, SCHED_IDLE counts only within the group: against the other groups it
  // is the group's own niceness.
  write_own("/proc/self/autogroup", "19");
  // Last: from here on it may have to wait for a long time.
  const sched_param none{};
  (void)::sched_setscheduler(0, SCHED_IDLE, &none);
}

// Only what makes the child a better neighbour; a failure here is not a reason not to start.
void lower_priority(const Command& command, const Prepared& prepared) {
  if (!prepared.control_group.empty()) {
    write_own(prepared.control_group.c_str(), "0");
  }
  if (command.nice > 0) {
    (void)::setpriority(PRIO_PROCESS, 0, command.nice);
  }
  if (command.oom_score_adj != 0) {
    write_own("/proc/self/oom_score_adj", prepared.oom_score_adj);
  }
  if (command.background) {
    step_back();
  }
}

[[noreturn]] void run_child(const Command& command, Prepared& prepared, pid_t parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127);  // the parent died before the signal was set up
  }
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD, SIGHUP}) {
    (void)::signal(number, SIG_DFL);
  }
  // A group of its own either way: Ctrl-C in a terminal is the parent's to handle.
  if (command.background) {
    (void)::setsid();
  } else {
    (void)::setpgid(0, 0);
  }
  lower_priority(command, prepared);
  if (command.data_limit_bytes > 0) {
    const rlimit limit{command.data_limit_bytes, command.data_limit_bytes};
    (void)::setrlimit(RLIMIT_DATA, &limit);
  }
  if (command.file_limit_bytes > 0) {
    const rlimit limit{command.file_limit_bytes, command.file_limit_bytes};
    (void)::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (redirect_output(prepared) && arrange_descriptors(command)) {
    ::execve(prepared.program.c_str(), prepared.argv.data(), prepared.envp.data());
  }
  const char* reason = std::strerror(errno);
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, reason, std::strlen(reason));
  n = ::write(STDERR_FILENO, "\n", 1);
  ::_exit(127);
}

}  // namespace

std::string Exit::describe() const {
  if (signalled) {
    return fmt::format("was killed by signal {} ({})", code, ::strsignal(code));
  }
  return fmt::format("exited with status {}", code);
}

struct Child::State : std::enable_shared_from_this<State> {
  State(const boost::asio::any_io_executor& loop, pid_t child, int pidfd, std::function<void(Exit)> on_exit)
      : pid(child), descriptor(loop, pidfd), kill_timer(loop), exited(std::move(on_exit)) {}

  void wait() {
    descriptor.async_wait(boost::asio::posix::descriptor_base::wait_read,
                          [self = shared_from_this()](boost::system::error_code error) {
                            if (!error) {
                              self->reap();
                            }
                          });
  }

  void reap() {
    if (pid <= 0) {
      return;
    }
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) {
      log::error("process", "waiting for process {}: {}", pid, std::strerror(errno));
    }
    pid = -1;
    kill_timer.cancel();
    boost::system::error_code ignored;
    descriptor.close(ignored);
    const Exit exit{WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)};
    if (auto callback = std::exchange(exited, {})) {
      callback(exit);
    }
  }

  pid_t pid;
  boost::asio::posix::stream_descriptor descriptor;
  boost::asio::steady_timer kill_timer;
  std::function<void(Exit)> exited;
};

Child::Child(std::shared_ptr<State> state) : state_(std::move(state)) {}

Child::~Child() {
  state_->exited = {};
  if (running()) {
    signal(SIGKILL);
    state_->reap();
  }
}

Result<std::unique_ptr<Child>> Child::spawn(boost::asio::any_io_executor loop, const Command& command,
                                            std::function<void(Exit)> exited) {
  auto prepared = prepare(command);
  if (!prepared) {
    return fail(prepared.error());
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail(errno_error(errno, fmt::format("starting {}", prepared->program)));
  }
  if (pid == 0) {
    run_child(command, *prepared, parent);
  }
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U));
  if (pidfd < 0) {
    const int code = errno;
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, nullptr, 0);
    return fail(errno_error(code, "watching a child process (pidfd_open, Linux 5.3 or newer)"));
  }
  (void)::fcntl(pidfd, F_SETFD, FD_CLOEXEC);
  auto state = std::make_shared<State>(loop, pid, pidfd, std::move(exited));
  state->wait();
  return std::unique_ptr<Child>(new Child(std::move(state)));
}

int Child::pid() const {
  return state_->pid;
}

bool Child::running() const {
  return state_->pid > 0;
}

void Child::signal(int number) {
  if (running()) {
    (void)::kill(state_->pid, number);
  }
}

void Child::stop(std::chrono::milliseconds grace) {
  if (!running()) {
    return;
  }
  signal(SIGTERM);
  state_->kill_timer.expires_after(grace);
  state_->kill_timer.async_wait([state = std::weak_ptr(state_), pid = state_->pid](boost::system::error_code error) {
    if (const auto alive = state.lock(); !error && alive && alive->pid == pid) {
      log::warn("process", "process {} did not stop in time: killed", pid);
      (void)::kill(pid, SIGKILL);
    }
  });
}

}  // namespace flops::process
