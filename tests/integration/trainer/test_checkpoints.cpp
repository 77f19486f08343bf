// Checkpoints of the real flops-trainer: what a killed or suspended worker leaves is enough for the next one.
#include <csignal>

#include "jobs.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// A job of 60 batches under Adam, with dropout and batch normalisation in the model.
struct Training {
  explicit Training(RealTrainer& trainer) {
    auto [prepared, parameters] = trainer.prepared("cnn-norm");
    job = prepared;
    base = std::move(parameters);
    bytes = floats_of(base).size() * sizeof(float);
    job.evaluate_first = false;
    job.training = {3, 16, "adam", 0.002, 0, 0, "cross_entropy"};
    job.checkpoints.batches = 5;
  }
  [[nodiscard]] Result<> start(RealTrainer& trainer, Heard& heard) {
    return trainer->start(job, {base.get(), result.get(), checkpoint.get()}, heard.callbacks());
  }
  [[nodiscard]] std::vector<float> undisturbed(RealTrainer& trainer) {
    trainer::Job whole = job;
    whole.checkpoints = {};
    const Fd into = memory(bytes);
    const Heard heard = trainer.run(whole, base, into);
    REQUIRE(*heard.end);
    CHECK(heard.checkpoints.empty());
    return floats_of(into);
  }

  trainer::Job job;
  Fd base;
  std::uint64_t bytes = 0;
  Fd result;
  Fd checkpoint = memory(0);
};

}  // namespace

TEST_CASE("checkpoints: a worker killed again and again ends in the same bytes and repeats no more than an interval") {
  RealTrainer trainer;
  Training training(trainer);
  const std::vector<float> undisturbed = training.undisturbed(trainer);
  training.result = memory(training.bytes);
  std::uint64_t reached = 0;  // batches, by the last checkpoint
  for (const std::uint64_t kill_at : {5U, 20U, 45U}) {
    Heard heard;
    REQUIRE(training.start(trainer, heard));
    REQUIRE(trainer.run_until([&] {
      return heard.end.has_value() || (!heard.checkpoints.empty() && heard.checkpoints.back().done >= kill_at);
    }));
    REQUIRE_FALSE(heard.end);
    REQUIRE(::kill(trainer.pid(), SIGKILL) == 0);
    REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
    CHECK(heard.error_kind() == ErrorKind::transient);
    CHECK(heard.checkpoints.front().done == reached + 5);
    CHECK(heard.checkpoints.front().total == 60);
    for (std::size_t i = 1; i < heard.checkpoints.size(); ++i) {
      CHECK(heard.checkpoints[i].place.offset != heard.checkpoints[i - 1].place.offset);
    }
    reached = heard.checkpoints.back().done;
    training.job.resume = heard.checkpoints.back().place;
  }
  Heard last;
  REQUIRE(training.start(trainer, last));
  REQUIRE(trainer.run_until([&] { return last.end.has_value(); }));
  REQUIRE(*last.end);
  CHECK((*last.end)->resumed_at == reached);
  CHECK((*last.end)->steps == 60);  // of all workers
  CHECK(floats_of(training.result) == undisturbed);
}

TEST_CASE("checkpoints: a suspended job ends with one at the next batch, and goes on from it in the same worker") {
  RealTrainer trainer;
  Training training(trainer);
  training.job.training.epochs = 5;  // long enough to be seen in training and suspended
  const std::vector<float> undisturbed = training.undisturbed(trainer);
  training.result = memory(training.bytes);
  training.job.checkpoints = {};  // none but that
  Heard heard;
  REQUIRE(training.start(trainer, heard));
  REQUIRE(trainer.run_until([&] { return !heard.progress.empty() && heard.progress.back().phase == "training"; }));
  const int pid = trainer.pid();
  trainer->suspend();
  trainer->suspend();  // once is enough
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  REQUIRE(heard.error_kind() == ErrorKind::cancelled);
  REQUIRE(heard.checkpoints.size() <= 1);  // none: it was suspended before its first batch
  if (!heard.checkpoints.empty()) {
    training.job.resume = heard.checkpoints.back().place;
  }
  Heard again;
  REQUIRE(training.start(trainer, again));
  REQUIRE(trainer.run_until([&] { return again.end.has_value(); }));
  REQUIRE(*again.end);
  CHECK(trainer.pid() == pid);
  CHECK((*again.end)->resumed_at == (heard.checkpoints.empty() ? 0 : heard.checkpoints.back().done));
  CHECK(floats_of(training.result) == undisturbed);
}

TEST_CASE("checkpoints: a damaged one is left, and training begins again") {
  RealTrainer trainer;
  Training training(trainer);
  const std::vector<float> undisturbed = training.undisturbed(trainer);
  training.result = memory(training.bytes);
  SUBCASE("nothing there") {
    training.job.resume = trainer::Place{0, 1000};
  }
  SUBCASE("zeros") {
    REQUIRE(::ftruncate(training.checkpoint.get(), 1 << 20) == 0);
    training.job.resume = trainer::Place{4096, 200'000};
  }
  SUBCASE("absurdly large") {
    training.job.resume = trainer::Place{0, 1ULL << 39U};
  }
  Heard heard;
  REQUIRE(training.start(trainer, heard));
  REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
  REQUIRE(*heard.end);
  CHECK((*heard.end)->resumed_at == 0);
  CHECK(floats_of(training.result) == undisturbed);
}
