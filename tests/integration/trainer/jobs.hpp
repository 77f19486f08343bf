// Real jobs for the real flops-trainer, with a data set made on the spot.
#pragma once

#include <string>

#include "fixture.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::test {

inline trainer::ProcessTrainerOptions unlimited() {
  trainer::ProcessTrainerOptions options;
  options.memory_limit_mb = 0;
  return options;
}

struct RealTrainer : TrainerUnderTest {
  explicit RealTrainer(const trainer::ProcessTrainerOptions& options = unlimited())
      : TrainerUnderTest(programs() / "flops-trainer", options) {
    write_digits(folder, "train", 320, 1);
    write_digits(folder, "test", 80, 2);
  }

  [[nodiscard]] trainer::Job init_job(const std::string& model, std::uint64_t seed) const {
    trainer::Job job;
    job.kind = trainer::JobKind::init;
    job.model = model;
    job.seed = seed;
    return job;
  }

  // Fresh parameters of a model, and a training job that starts from them.
  [[nodiscard]] std::pair<trainer::Job, Fd> prepared(const std::string& model) {
    Fd base = memory(0);
    const Heard heard = run(init_job(model, 1), Fd(), base);
    REQUIRE(*heard.end);
    trainer::Job job;
    job.kind = trainer::JobKind::train;
    job.model = model;
    job.layout = crypto::sha256((*heard.end)->layout);
    job.seed = 11;
    job.dataset = {"digits",
                   "idx",
                   folder / "train-images",
                   folder / "train-labels",
                   folder / "test-images",
                   folder / "test-labels"};
    job.training.momentum = 0.9;
    job.training.batch = 16;
    job.evaluate_first = true;
    return {job, std::move(base)};
  }

  // A job that does not end by itself within a test's life; returns when it is training.
  void start_long(Heard& heard) {
    auto [job, base] = prepared("2nn");
    job.training.epochs = 100'000;
    job.evaluate_first = false;
    const Fd result = memory(floats_of(base).size() * sizeof(float));
    REQUIRE((*this)->start(job, {base.get(), result.get(), memory(0).get()}, heard.callbacks()));
    REQUIRE(run_until([&] { return !heard.progress.empty() && heard.progress.back().phase == "training"; }));
    REQUIRE((*this)->busy());
  }

  TemporaryFolder folder;
};

}  // namespace flops::test
