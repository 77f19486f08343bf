#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "samples.hpp"

using namespace flops;
using namespace flops::agent;
using namespace flops::agent::samples;

TEST_CASE("storage: a task comes back as it was written, in every phase, after reopening") {
  for (const Phase phase : {Phase::fetching, Phase::assembling, Phase::ready, Phase::running, Phase::encoding,
                            Phase::offering, Phase::uploading}) {
    const test::TemporaryFolder folder;
    TaskState state = task("t1", phase);
    state.attempts = 2;
    state.interruptions = 4;
    state.metrics = wire::Metrics{state.task.ref, digest(1), 10, 2.25, 0.5, 1.5};
    state.metrics_delivered = true;
    {
      Storage storage = open(folder.path());
      REQUIRE(storage.put_task(task("t1")).has_value());
      REQUIRE(storage.put_task(task("t0")).has_value());
      REQUIRE(storage.put_task(state).has_value());
    }
    Storage storage = open(folder.path());
    CHECK(tasks_of(storage) == std::vector{state, task("t0")});
    CHECK_FALSE(storage.set_aside().has_value());
  }
}

TEST_CASE("storage: local rounds that were trained offline come back, but for whether they are being encoded") {
  const test::TemporaryFolder folder;
  for (const Phase phase : {Phase::ready, Phase::running, Phase::encoding}) {
    TaskState state = task("t1", phase);
    state.continued = Continued{3, digest(6), {60, 0.25, 4.5, digest(5), {}, 21}, phase == Phase::encoding};
    {
      Storage storage = open(folder.path());
      REQUIRE(storage.put_task(state).has_value());
    }
    Storage storage = open(folder.path());
    state.continued->ends = false;
    CHECK(tasks_of(storage) == std::vector{state});
    state.continued.reset();
    REQUIRE(storage.put_task(state).has_value());
    CHECK(tasks_of(storage) == std::vector{state});
  }
}

TEST_CASE("storage: a finished task leaves its id, an absent one nothing") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  TaskState over = task("over");
  TaskState declined = task("declined");
  REQUIRE(storage.put_task(over).has_value());
  REQUIRE(storage.put_task(declined).has_value());
  over.phase = Phase::finished;
  declined.phase = Phase::absent;
  REQUIRE(storage.put_task(over).has_value());
  REQUIRE(storage.put_task(declined).has_value());
  CHECK(tasks_of(storage).empty());
  CHECK(storage.is_finished(*TaskId::parse("over")).value());
  CHECK_FALSE(storage.is_finished(*TaskId::parse("declined")).value());
}

TEST_CASE("storage: only the newest finished ids are kept") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  REQUIRE(storage
              .transaction([&]() -> Result<> {
                for (std::size_t i = 0; i < Storage::max_finished + 5; ++i) {
                  if (auto put = storage.put_task(task(fmt::format("t{}", i), Phase::finished)); !put) {
                    return put;
                  }
                }
                return {};
              })
              .has_value());
  CHECK_FALSE(storage.is_finished(*TaskId::parse("t4")).value());
  CHECK(storage.is_finished(*TaskId::parse("t5")).value());
  CHECK(storage.is_finished(*TaskId::parse(fmt::format("t{}", Storage::max_finished + 4))).value());
}

TEST_CASE("storage: a transition that fails half-way leaves nothing behind") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  REQUIRE(storage.put_task(task("t1", Phase::encoding)).has_value());
  const auto bytes = pattern(600'000);
  auto failed = storage.transaction([&]() -> Result<> {
    auto put = storage.put_update(*TaskId::parse("t1"), {digest(4), bytes.size()}, source_of(bytes));
    REQUIRE(put.has_value());
    REQUIRE(storage.put_task(task("t1", Phase::offering)).has_value());
    return fail(ErrorKind::resource, "no space");
  });
  CHECK(failed.error().kind == ErrorKind::resource);
  CHECK(tasks_of(storage) == std::vector{task("t1", Phase::encoding)});
  CHECK(storage.read_update_chunk(*TaskId::parse("t1"), 0).value() == std::nullopt);
}

TEST_CASE("storage: a process killed inside a transaction loses it whole, one killed after it loses nothing") {
  for (const bool committed : {false, true}) {
    const test::TemporaryFolder folder;
    {
      REQUIRE(open(folder.path()).put_task(task("t1", Phase::encoding)).has_value());
    }
    const auto bytes = pattern(600'000);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      auto storage = Storage::open(folder.path(), Damaged::refuse, now);
      (void)storage->transaction([&]() -> Result<> {
        (void)storage->put_update(*TaskId::parse("t1"), {digest(4), bytes.size()}, source_of(bytes));
        (void)storage->put_task(task("t1", Phase::offering));
        if (!committed) {
          ::kill(::getpid(), SIGKILL);
        }
        return {};
      });
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    Storage storage = open(folder.path());
    CHECK_FALSE(storage.set_aside().has_value());
    CHECK(tasks_of(storage) == std::vector{task("t1", committed ? Phase::offering : Phase::encoding)});
    CHECK(storage.read_update_chunk(*TaskId::parse("t1"), 0).value().has_value() == committed);
  }
}

TEST_CASE("storage: evaluations, data sets and meta values are kept") {
  const test::TemporaryFolder folder;
  Storage storage = open(folder.path());
  for (std::size_t i = 0; i < Storage::max_evaluations + 3; ++i) {
    const wire::Metrics metrics{task("t").task.ref, digest(1), i + 1, 0.5, 0.25, 1};
    REQUIRE(storage.add_evaluation({metrics, static_cast<std::int64_t>(i)}).has_value());
  }
  const auto newest = storage.evaluations(1000).value();
  REQUIRE(newest.size() == Storage::max_evaluations);
  CHECK(newest.front().at == static_cast<std::int64_t>(Storage::max_evaluations + 2));
  CHECK(newest.front().metrics.samples == Storage::max_evaluations + 3);

  REQUIRE(storage.put_datasets({{"a", 1, 2}, {"b", 3, 4}}).has_value());
  REQUIRE(storage.put_datasets({{"b", 5, 6}}).has_value());
  CHECK(storage.datasets().value() == std::vector<wire::Dataset>{{"b", 5, 6}});

  CHECK(storage.meta("k").value() == std::nullopt);
  REQUIRE(storage.put_meta("k", "1").has_value());
  REQUIRE(storage.put_meta("k", "2").has_value());
  CHECK(storage.meta("k").value() == "2");
}
