// How a real worker process lives and dies.
#include <string>

#include <sched.h>
#include <sys/resource.h>

#include "jobs.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("worker: it has no privileges to gain, a system call filter, low priority and leaves no core dumps") {
  RealTrainer trainer;
  const Fd result = memory(0);
  REQUIRE(*trainer.run(trainer.init_job("softmax", 1), Fd(), result).end);
  const int pid = trainer.pid();
  CHECK(status_field(pid, "Seccomp") == "2");
  CHECK(status_field(pid, "NoNewPrivs") == "1");
  CHECK(::getpriority(PRIO_PROCESS, static_cast<id_t>(pid)) == 10);
  rlimit core{};
  REQUIRE(::prlimit(pid, RLIMIT_CORE, nullptr, &core) == 0);
  CHECK(core.rlim_max == 0);
}

TEST_CASE("worker: it runs only with what others leave, and is the first to go when memory is short") {
  boost::asio::io_context loop;
  trainer::ProcessTrainerOptions options;
  options.program = programs() / "flops-trainer";
  trainer::ProcessTrainer trainer(loop.get_executor(), options);
  trainer::Job job;
  job.kind = trainer::JobKind::init;
  job.model = "softmax";
  const Fd result = memory(0);
  REQUIRE(trainer.start(job, {.result = result.get()}, {}));
  const auto pid = trainer.worker_pid();
  REQUIRE(pid);
  // The last thing before it becomes another program, with whatever threads that has. It need not get to its job.
  REQUIRE(test::run_until(loop, [&] { return ::sched_getscheduler(*pid) == SCHED_IDLE; }));
  int oom_score_adj = 0;
  std::ifstream("/proc/" + std::to_string(*pid) + "/oom_score_adj") >> oom_score_adj;
  CHECK(oom_score_adj == 1000);
}

TEST_CASE("worker: it runs one job at a time") {
  RealTrainer trainer;
  Heard heard;
  trainer.start_long(heard);
  Heard second;
  const Fd result = memory(0);
  const auto started = trainer->start(trainer.init_job("softmax", 1), {-1, result.get(), -1}, second.callbacks());
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::bug);
  trainer->cancel();
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  CHECK_FALSE(second.end);
}

TEST_CASE("worker: a cancel ends the job at the next batch and the worker stays warm") {
  RealTrainer trainer;
  Heard heard;
  trainer.start_long(heard);
  const int pid = trainer.pid();
  trainer->cancel();
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  CHECK(heard.error_kind() == ErrorKind::cancelled);
  CHECK_FALSE(trainer->busy());

  const Fd result = memory(0);
  CHECK(*trainer.run(trainer.init_job("softmax", 1), Fd(), result).end);
  CHECK(trainer.pid() == pid);
}

TEST_CASE("worker: one that is killed in the middle of a job is a transient error, and the next job gets a new one") {
  RealTrainer trainer;
  Heard heard;
  trainer.start_long(heard);
  const int pid = trainer.pid();
  REQUIRE(::kill(pid, SIGKILL) == 0);
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  CHECK(heard.error_kind() == ErrorKind::transient);
  CHECK_MESSAGE(heard.end->error().what.find("killed by signal 9") != std::string::npos, heard.end->error().what);
  CHECK_FALSE(trainer->worker_pid());

  const Fd result = memory(0);
  CHECK(*trainer.run(trainer.init_job("softmax", 1), Fd(), result).end);
  CHECK(trainer.pid() != pid);
}

TEST_CASE("worker: one without jobs ends by itself, and the next job gets a new one") {
  trainer::ProcessTrainerOptions options = unlimited();
  options.warm_for = std::chrono::milliseconds(50);
  RealTrainer trainer(options);
  const Fd result = memory(0);
  REQUIRE(*trainer.run(trainer.init_job("softmax", 1), Fd(), result).end);
  REQUIRE(trainer.run_until([&] { return !trainer->worker_pid(); }));
  CHECK_FALSE(trainer->busy());
  const Fd again = memory(0);
  CHECK(*trainer.run(trainer.init_job("softmax", 1), Fd(), again).end);
}

TEST_CASE("worker: a job that meets the end of the idle time is done nevertheless") {
  trainer::ProcessTrainerOptions options = unlimited();
  options.warm_for = std::chrono::milliseconds(1);
  RealTrainer trainer(options);
  // With an idle time as short as this the worker leaves while jobs come, at a different point every time.
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Fd result = memory(0);
    const Heard heard = trainer.run(trainer.init_job("softmax", seed), Fd(), result);
    CHECK_MESSAGE(heard.end->has_value(), (*heard.end ? "" : heard.end->error().what));
  }
}

TEST_CASE("worker: stop ends it, with a job cancelled, and a later job starts a new one") {
  RealTrainer trainer;
  bool stopped = false;
  SUBCASE("in a job") {
    Heard heard;
    trainer.start_long(heard);
    const int pid = trainer.pid();
    trainer->stop([&] { stopped = true; });
    REQUIRE(trainer.run_until([&] { return stopped; }));
    CHECK(heard.error_kind() == ErrorKind::cancelled);
    CHECK_FALSE(process_exists(pid));
  }
  SUBCASE("idle") {
    const Fd result = memory(0);
    REQUIRE(*trainer.run(trainer.init_job("softmax", 1), Fd(), result).end);
    const int pid = trainer.pid();
    trainer->stop([&] { stopped = true; });
    REQUIRE(trainer.run_until([&] { return stopped; }));
    CHECK_FALSE(process_exists(pid));
  }
  SUBCASE("without a worker") {
    trainer->stop([&] { stopped = true; });
    CHECK_FALSE(stopped);
    REQUIRE(trainer.run_until([&] { return stopped; }));
  }
  CHECK_FALSE(trainer->worker_pid());
  const Fd again = memory(0);
  CHECK(*trainer.run(trainer.init_job("softmax", 1), Fd(), again).end);
}

TEST_CASE("worker: it does not outlive the trainer object") {
  RealTrainer trainer;
  Heard heard;
  trainer.start_long(heard);
  const int pid = trainer.pid();
  trainer.destroy();
  CHECK_FALSE(process_exists(pid));
  CHECK_FALSE(heard.end);
}
