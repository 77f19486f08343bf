// The agent's side against workers that break every rule (fake_worker.cpp).
#include "fixture.hpp"

using namespace flops;
using namespace flops::test;

namespace {

trainer::Job job_that(const std::string& misbehaviour) {
  trainer::Job job;
  job.kind = trainer::JobKind::init;
  job.model = misbehaviour;
  return job;
}

struct FakeTrainer : TrainerUnderTest {
  explicit FakeTrainer(const trainer::ProcessTrainerOptions& options = {})
      : TrainerUnderTest(programs() / "tests" / "fake_worker", options) {}
  // The next job works, whatever happened.
  void check_recovers() {
    const Fd result = memory(0);
    CHECK(run(job_that("good"), Fd(), result).end->has_value());
  }
};

}  // namespace

TEST_CASE("misbehaving worker: the job ends with an error of the right kind and the next one works") {
  struct Row {
    const char* how;
    ErrorKind kind;
    const char* reason;
  };
  const Row rows[] = {
      {"nonsense", ErrorKind::corrupt, "answered nonsense"},
      {"too-large", ErrorKind::corrupt, "more than 131072 bytes"},
      {"hang-up", ErrorKind::transient, "was killed by signal 15"},
      {"leave", ErrorKind::transient, "exited with status 0"},
      {"crash", ErrorKind::transient, "exited with status 7"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.how);
    FakeTrainer trainer;
    const Fd result = memory(0);
    const Heard heard = trainer.run(job_that(row.how), Fd(), result);
    CHECK(heard.error_kind() == row.kind);
    CHECK_MESSAGE(heard.end->error().what.find(row.reason) != std::string::npos, heard.end->error().what);
    trainer.check_recovers();
  }
}

TEST_CASE("misbehaving worker: descriptors it sends are closed") {
  FakeTrainer trainer;
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  trainer.check_recovers();
  const Fd result = memory(0);
  const auto before = count();
  CHECK(trainer.run(job_that("descriptors"), Fd(), result).end->has_value());
  CHECK(count() == before);
}

TEST_CASE("misbehaving worker: an answer that nobody asked for ends it, not the agent") {
  FakeTrainer trainer;
  const Fd result = memory(0);
  CHECK(trainer.run(job_that("unasked"), Fd(), result).end->has_value());
  REQUIRE(trainer.run_until([&] { return !trainer->worker_pid(); }));
  trainer.check_recovers();
}

TEST_CASE("misbehaving worker: a flood of progress is worked off without loss of the end") {
  FakeTrainer trainer;
  const Fd result = memory(0);
  const Heard heard = trainer.run(job_that("flood"), Fd(), result);
  CHECK(heard.end->has_value());
  CHECK(heard.progress.size() == 5000);
}

TEST_CASE("misbehaving worker: one that ignores a cancel and SIGTERM is killed") {
  trainer::ProcessTrainerOptions options;
  options.cancel_grace = std::chrono::milliseconds(50);
  FakeTrainer trainer(options);
  const Fd result = memory(0);
  Heard heard;
  REQUIRE(trainer->start(job_that("deaf"), {-1, result.get(), -1}, heard.callbacks()));
  REQUIRE(trainer.run_until([&] { return !heard.progress.empty(); }));
  const int pid = trainer.pid();
  trainer->cancel();
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  CHECK(heard.error_kind() == ErrorKind::cancelled);
  CHECK_FALSE(process_exists(pid));
  trainer.check_recovers();
}

TEST_CASE("misbehaving worker: a warm one that leaves just as a job comes costs nothing: the job goes to a new one") {
  FakeTrainer trainer;
  const Fd result = memory(0);
  CHECK(trainer.run(job_that("good"), Fd(), result).end->has_value());
  const int pid = trainer.pid();
  const Fd second = memory(0);
  CHECK(trainer.run(job_that("leave-when-warm"), Fd(), second).end->has_value());
  CHECK(trainer.pid() != pid);
}

TEST_CASE("missing worker: a program that is not there is a permanent error") {
  TrainerUnderTest trainer("/nonexistent/flops-trainer");
  Heard heard;
  const Fd result = memory(0);
  const auto started = trainer->start(job_that("good"), {-1, result.get(), -1}, heard.callbacks());
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::permanent);
  CHECK(started.error().what.find("/nonexistent/flops-trainer") != std::string::npos);
  CHECK_FALSE(trainer->busy());
}
