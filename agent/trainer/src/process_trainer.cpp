#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "flops/core/clock.hpp"
#include "flops/core/log.hpp"
#include "flops/process/child.hpp"
#include "flops/trainer/compute_environment.hpp"
#include "flops/trainer/trainer.hpp"

namespace flops::trainer {
namespace {

constexpr std::chrono::milliseconds kill_grace{2'000};
// Packets handled before others on the loop get their turn: a worker cannot starve the agent.
constexpr int packets_per_turn = 32;
constexpr int socket_in_worker = 3;

// What the job uses, in the order in which it travels.
std::vector<int> used_memory(const Job& job, const JobMemory& memory) {
  if (job.kind == JobKind::init) {
    return {memory.result};
  }
  if (job.kind == JobKind::evaluate) {
    return {memory.parameters};
  }
  std::vector<int> used = {memory.parameters, memory.result};
  if (job.part) {
    if (job.part->sum) {
      used.push_back(memory.sum);
    }
    return used;
  }
  used.push_back(memory.checkpoint);
  if (job.control_variates) {
    used.push_back(memory.variates);
  }
  return used;
}

Result<std::vector<Fd>> duplicate_memory(const Job& job, const JobMemory& memory) {
  std::vector<Fd> copies;
  for (const int fd : used_memory(job, memory)) {
    if (fd < 0) {
      return fail(ErrorKind::bug, "a job '{}' came without all of its memory", to_string(job.kind));
    }
    copies.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copies.back().valid()) {
      return fail(errno_error(errno, "duplicating a descriptor for the trainer"));
    }
  }
  return copies;
}

// Whoever reads what a worker has sized must not be surprised by one that changes its size later.
Result<> seal_sized(const Job& job, const std::vector<Fd>& memory) {
  const bool sized = job.kind == JobKind::init || (job.kind == JobKind::train && job.part && job.part->sum);
  if (!sized || ::fcntl(memory.back().get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
    return {};
  }
  return fail(errno_error(errno, "sealing what the worker wrote"));
}

// VmHWM in KiB; 0 when the process is gone.
std::int64_t peak_resident(int pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  std::string word;
  while (status >> word) {
    std::int64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) {
      return kib;
    }
  }
  return 0;
}

process::Command worker_command(const ProcessTrainerOptions& options, int socket) {
  process::Command command;
  command.program = options.program;
  command.arguments = {"--worker-fd",    std::to_string(socket_in_worker),
                       "--idle-seconds", fmt::format("{:.3f}", Seconds(options.warm_for).count()),
                       "--threads",      std::to_string(options.threads)};
  command.arguments.insert(command.arguments.end(), options.arguments.begin(), options.arguments.end());
  command.environment = compute_environment(static_cast<int>(options.threads));
  command.descriptors = {{socket, socket_in_worker}};
  command.nice = options.nice;
  command.background = options.background;
  command.control_group = options.control_group;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // shadow memory counts as data
  command.data_limit_bytes = static_cast<std::uint64_t>(options.memory_limit_mb) << 20U;
#endif
  // The highest: when memory is short, the trainer goes first however small it is beside the device's own work. Its
  // work can be done again, theirs perhaps not.
  command.oom_score_adj = 1000;
  return command;
}

}  // namespace

struct ProcessTrainer::State : std::enable_shared_from_this<State> {
  struct Worker {
    std::uint64_t id = 0;
    std::unique_ptr<process::Child> child;
    boost::asio::posix::stream_descriptor socket;
    std::uint64_t jobs_done = 0;
  };
  struct Running {
    Job job;
    std::vector<Fd> memory;  // in the order of job.hpp
    JobCallbacks callbacks;
    std::uint64_t worker = 0;
    bool answered = false;
    bool cancelled = false;
    bool suspended = false;
  };

  State(boost::asio::any_io_executor executor, ProcessTrainerOptions chosen)
      : loop(std::move(executor)), options(std::move(chosen)), cancel_timer(loop) {}

  Result<> start(const Job& job, const JobMemory& memory, JobCallbacks callbacks);
  Result<> spawn();
  Result<> send_job();
  void watch();
  void read_packets();
  void handle(std::string_view text);
  void finish(Result<JobReport> outcome);
  [[nodiscard]] Result<> died(process::Exit exit) const;
  void worker_exited(std::uint64_t id, process::Exit exit);
  void worker_nonsense(const Error& error);
  void cancel();
  void suspend();
  void ask(Control control, std::chrono::milliseconds grace);
  void stop(std::function<void()> done);
  void end_worker();
  void close();

  boost::asio::any_io_executor loop;
  ProcessTrainerOptions options;
  boost::asio::steady_timer cancel_timer;
  std::unique_ptr<Worker> worker;
  std::optional<Running> running;
  std::vector<std::function<void()>> stopping;
  std::uint64_t workers_started = 0;
  std::int64_t peak = 0;
};

Result<> ProcessTrainer::State::start(const Job& job, const JobMemory& memory, JobCallbacks callbacks) {
  if (running) {
    return fail(ErrorKind::bug, "the trainer is busy with another job");
  }
  if (!stopping.empty()) {
    return fail(ErrorKind::cancelled, "the trainer is being stopped");
  }
  auto duplicates = duplicate_memory(job, memory);
  if (!duplicates) {
    return fail(duplicates.error());
  }
  running = Running{job, std::move(*duplicates), std::move(callbacks), 0, false, false, false};
  if (auto sent = send_job(); !sent) {
    running.reset();
    return sent;
  }
  return {};
}

Result<> ProcessTrainer::State::spawn() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(errno_error(errno, "making a socket for the trainer"));
  }
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  // The flag belongs to the open description: the worker's end stays blocking.
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return fail(errno_error(errno, "making the trainer's socket non-blocking"));
  }
  const std::uint64_t id = ++workers_started;
  auto child = process::Child::spawn(loop, worker_command(options, theirs.get()),
                                     [weak = weak_from_this(), id](process::Exit exit) {
                                       if (const auto self = weak.lock()) {
                                         self->worker_exited(id, exit);
                                       }
                                     });
  if (!child) {
    return fail(child.error(), "starting the trainer");
  }
  log::debug("trainer", "worker {} started", (*child)->pid());
  worker =
      std::make_unique<Worker>(id, std::move(*child), boost::asio::posix::stream_descriptor(loop, ours.release()), 0);
  watch();
  return {};
}

// To the warm worker, or to a new one when there is none or it has just left.
Result<> ProcessTrainer::State::send_job() {
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (worker && !worker->socket.is_open()) {
      worker.reset();
    }
    if (!worker) {
      if (auto spawned = spawn(); !spawned) {
        return spawned;
      }
    }
    std::vector<int> descriptors;
    for (const Fd& fd : running->memory) {
      descriptors.push_back(fd.get());
    }
    auto sent = send_packet(worker->socket.native_handle(), to_json(running->job), descriptors);
    if (sent) {
      running->worker = worker->id;
      return {};
    }
    if (sent.error().kind != ErrorKind::cancelled) {
      return fail(sent.error(), "giving the trainer a job");
    }
    worker.reset();  // its end is closed: it was idle for too long, and is on its way out or dead
  }
  return fail(ErrorKind::transient, "the trainer ends as soon as it is started: see its log");
}

void ProcessTrainer::State::watch() {
  worker->socket.async_wait(boost::asio::posix::descriptor_base::wait_read,
                            [weak = weak_from_this(), id = worker->id](boost::system::error_code error) {
                              const auto self = weak.lock();
                              if (error || !self || !self->worker || self->worker->id != id) {
                                return;
                              }
                              self->read_packets();
                              if (self->worker && self->worker->id == id && self->worker->socket.is_open()) {
                                self->watch();
                              }
                            });
}

void ProcessTrainer::State::read_packets() {
  const std::uint64_t id = worker->id;
  for (int n = 0; n < packets_per_turn && worker && worker->id == id; ++n) {
    const auto packet = receive_packet(worker->socket.native_handle());
    if (packet) {
      handle(packet->text);
      continue;
    }
    if (packet.error().kind == ErrorKind::cancelled) {
      // How it ended is known when it is reaped; one that closed its end and stays must go.
      worker->socket.close();
      worker->child->stop(kill_grace);
    } else if (packet.error().kind != ErrorKind::transient) {
      worker_nonsense(packet.error());
    }
    return;
  }
}

void ProcessTrainer::State::handle(std::string_view text) {
  auto answer = parse_answer(text);
  if (!answer) {
    worker_nonsense(answer.error());
    return;
  }
  if (!running || running->worker != worker->id) {
    worker_nonsense({ErrorKind::permanent, "an answer without a job"});
    return;
  }
  running->answered = true;
  if (answer->report || answer->error) {
    peak = std::max(peak, peak_resident(worker->child->pid()));
    ++worker->jobs_done;
    finish(answer->report ? Result<JobReport>(std::move(*answer->report)) : fail(*answer->error));
  } else if (running->cancelled) {
    return;  // nobody is interested any more
  } else if (answer->checkpoint) {
    if (const auto callback = running->callbacks.checkpointed) {
      callback(*answer->checkpoint);
    }
    if (worker && worker->socket.is_open()) {
      (void)send_packet(worker->socket.native_handle(), to_json(Control::kept));
    }
  } else if (answer->progress && running->callbacks.progress) {
    const auto callback = running->callbacks.progress;  // it may cancel or stop
    callback(*answer->progress);
  } else if (answer->evaluation && running->callbacks.evaluated) {
    const auto callback = running->callbacks.evaluated;
    callback(*answer->evaluation);
  }
}

void ProcessTrainer::State::finish(Result<JobReport> outcome) {
  Running ended = std::move(*running);
  running.reset();
  cancel_timer.cancel();
  if (ended.cancelled || (ended.suspended && !outcome && outcome.error().kind == ErrorKind::transient)) {
    outcome = fail(ErrorKind::cancelled, "the job was {}", ended.cancelled ? "cancelled" : "suspended");
  } else if (outcome) {
    if (auto sealed = seal_sized(ended.job, ended.memory); !sealed) {
      outcome = fail(sealed.error());
    }
  }
  if (ended.callbacks.finished) {
    ended.callbacks.finished(std::move(outcome));
  }
  if (!stopping.empty()) {
    end_worker();
  }
}

void ProcessTrainer::State::worker_nonsense(const Error& error) {
  log::error("trainer", "worker {} answered nonsense and is stopped: {}", worker->child->pid(), error.what);
  const bool concerned = running && running->worker == worker->id;
  worker->child->signal(SIGKILL);
  worker.reset();  // reaps it
  if (concerned) {
    finish(fail(ErrorKind::corrupt, "the trainer answered nonsense: {}", error.what));
  }
  for (const auto& done : std::exchange(stopping, {})) {
    boost::asio::post(loop, done);
  }
}

Result<> ProcessTrainer::State::died(process::Exit exit) const {
  const bool killed = exit.signalled && exit.code == SIGKILL;
  return fail(ErrorKind::transient, "the trainer {} in job '{}' of model '{}'{}", exit.describe(),
              to_string(running->job.kind), running->job.model, killed ? "; perhaps memory ran out" : "");
}

void ProcessTrainer::State::worker_exited(std::uint64_t id, process::Exit exit) {
  if (!worker || worker->id != id) {
    return;
  }
  if (worker->socket.is_open()) {
    read_packets();  // what it said before it ended
  }
  if (!worker || worker->id != id) {
    return;
  }
  const bool was_warm = worker->jobs_done > 0;
  worker.reset();
  log::debug("trainer", "worker {}", exit.describe());
  if (running && running->worker == id) {
    // A warm worker whose idle time ended just as the job came has not looked at it.
    const bool unseen = was_warm && !exit.signalled && exit.code == 0 && !running->answered && !running->cancelled &&
                        !running->suspended;
    const Result<> again = unseen && stopping.empty() ? send_job() : died(exit);
    if (!again) {
      finish(fail(again.error()));
    }
  }
  for (const auto& done : std::exchange(stopping, {})) {
    done();
  }
}

void ProcessTrainer::State::cancel() {
  if (running && !running->cancelled) {
    running->cancelled = true;
    ask(Control::cancel, options.cancel_grace);
  }
}

void ProcessTrainer::State::suspend() {
  if (running && !running->cancelled && !running->suspended) {
    running->suspended = true;
    ask(Control::suspend, options.suspend_grace);
  }
}

// One that does not listen is stopped after a while.
void ProcessTrainer::State::ask(Control control, std::chrono::milliseconds grace) {
  if (!worker) {
    return;
  }
  if (auto sent = send_packet(worker->socket.native_handle(), to_json(control)); !sent) {
    worker->child->stop(kill_grace);
    return;
  }
  cancel_timer.expires_after(grace);
  cancel_timer.async_wait([weak = weak_from_this(), id = worker->id](boost::system::error_code error) {
    const auto self = weak.lock();
    if (!error && self && self->running && self->worker && self->worker->id == id) {
      log::warn("trainer", "worker {} does not end its job and is stopped", self->worker->child->pid());
      self->worker->child->stop(kill_grace);
    }
  });
}

void ProcessTrainer::State::stop(std::function<void()> done) {
  if (!worker) {
    boost::asio::post(loop, std::move(done));
    return;
  }
  stopping.push_back(std::move(done));
  if (running) {
    running->suspended = true;
    ask(Control::suspend, options.cancel_grace);
  } else {
    end_worker();
  }
}

void ProcessTrainer::State::end_worker() {
  if (worker) {
    worker->child->stop(kill_grace);
    return;
  }
  for (const auto& done : std::exchange(stopping, {})) {
    boost::asio::post(loop, done);
  }
}

void ProcessTrainer::State::close() {
  running.reset();
  stopping.clear();
  worker.reset();  // kills and reaps
  cancel_timer.cancel();
}

ProcessTrainer::ProcessTrainer(boost::asio::any_io_executor loop, ProcessTrainerOptions options)
    : state_(std::make_shared<State>(std::move(loop), std::move(options))) {}

ProcessTrainer::~ProcessTrainer() {
  state_->close();
}

Result<> ProcessTrainer::start(const Job& job, const JobMemory& memory, JobCallbacks callbacks) {
  return state_->start(job, memory, std::move(callbacks));
}

void ProcessTrainer::suspend() {
  state_->suspend();
}

void ProcessTrainer::cancel() {
  state_->cancel();
}

bool ProcessTrainer::busy() const {
  return state_->running.has_value();
}

void ProcessTrainer::stop(std::function<void()> done) {
  state_->stop(std::move(done));
}

std::optional<int> ProcessTrainer::worker_pid() const {
  if (!state_->worker || !state_->worker->child->running()) {
    return std::nullopt;
  }
  return state_->worker->child->pid();
}

std::int64_t ProcessTrainer::peak_kib() const {
  return state_->peak;
}

}  // namespace flops::trainer
