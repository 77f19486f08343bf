// Jobs in real flops-trainer processes.
#include <algorithm>

#include <fcntl.h>

#include "jobs.hpp"

using namespace flops;
using namespace flops::test;
using trainer::Job;
using trainer::JobKind;

TEST_CASE("flops-trainer: init makes the model's parameters from the seed, in memory whose size is sealed then") {
  RealTrainer trainer;
  const Fd first = memory(0);
  const Heard heard = trainer.run(trainer.init_job("2nn", 5), Fd(), first);
  REQUIRE(*heard.end);
  CHECK((*heard.end)->layout.find(R"(["fc1.weight",[200,784]])") != std::string::npos);
  CHECK(floats_of(first).size() == 199'210);
  CHECK(::ftruncate(first.get(), 0) != 0);

  const Fd second = memory(0);
  REQUIRE(*trainer.run(trainer.init_job("2nn", 5), Fd(), second).end);
  CHECK(floats_of(second) == floats_of(first));
  const Fd third = memory(0);
  REQUIRE(*trainer.run(trainer.init_job("2nn", 6), Fd(), third).end);
  CHECK(floats_of(third) != floats_of(first));
}

TEST_CASE("flops-trainer: it evaluates the base model, trains, and the trained model is better") {
  RealTrainer trainer;
  auto [job, base] = trainer.prepared("cnn-small");
  job.training.epochs = 3;
  const std::vector<float> before = floats_of(base);
  const Fd result = memory(before.size() * sizeof(float));
  const int pid = trainer.pid();
  const Heard heard = trainer.run(job, base, result);
  REQUIRE(*heard.end);
  const trainer::JobReport& report = **heard.end;
  CHECK(report.samples == 320);
  CHECK(report.train_seconds > 0);
  CHECK(report.steps == 60);  // 3 epochs of 320 samples in batches of 16
  REQUIRE(heard.evaluations.size() == 1);
  CHECK(heard.evaluations[0].samples == 80);
  REQUIRE(report.evaluation);
  CHECK(report.evaluation->loss == heard.evaluations[0].loss);
  CHECK(report.train_loss < report.evaluation->loss);
  CHECK(floats_of(base) == before);
  CHECK(floats_of(result) != before);
  REQUIRE_FALSE(heard.progress.empty());
  CHECK(heard.progress.front().phase == "loading");

  Job measure = job;
  measure.kind = JobKind::evaluate;
  const Heard after = trainer.run(measure, result, Fd());
  REQUIRE(*after.end);
  REQUIRE((*after.end)->evaluation);
  CHECK((*after.end)->evaluation->accuracy >= 0.9);
  CHECK((*after.end)->evaluation->accuracy > report.evaluation->accuracy);
  CHECK(after.evaluations.empty());
  CHECK(trainer.pid() == pid);
  CHECK(trainer->peak_kib() > 10'000);
}

TEST_CASE("flops-trainer: the same job gives the same bytes in a cold worker and in a warm one") {
  std::vector<std::vector<float>> results;
  for (int process = 0; process < 2; ++process) {
    RealTrainer trainer;
    auto [job, base] = trainer.prepared("cnn-small");
    for (int repetition = 0; repetition < 2; ++repetition) {
      const Fd result = memory(floats_of(base).size() * sizeof(float));
      REQUIRE(*trainer.run(job, base, result).end);
      results.push_back(floats_of(result));
      // Something else in between, with other random numbers.
      const Fd other = memory(0);
      REQUIRE(*trainer.run(trainer.init_job("softmax", 99), Fd(), other).end);
    }
  }
  for (const auto& result : results) {
    CHECK(result == results.front());
  }
}

TEST_CASE("flops-trainer: a job that cannot work is refused with the reason, and the worker goes on") {
  RealTrainer trainer;
  auto [job, base] = trainer.prepared("softmax");
  const std::uint64_t bytes = floats_of(base).size() * sizeof(float);
  Fd result = memory(bytes);
  std::string reason;
  SUBCASE("unknown model") {
    job.model = "gpt";
    reason = "there is no model 'gpt'";
  }
  SUBCASE("another layout") {
    job.layout = Digest();
    reason = "has the layout";
  }
  SUBCASE("a base of another size") {
    base = memory(bytes - 4);
    reason = "base model: the memory for 7850 parameters";
  }
  SUBCASE("a result of another size") {
    result = memory(bytes + 4);
    reason = "trained parameters: the memory";
  }
  SUBCASE("missing data") {
    job.dataset.train_samples = "/nonexistent/images";
    reason = "train split of 'digits': /nonexistent/images: No such file";
  }
  SUBCASE("damaged data") {
    write_bytes(trainer.folder / "test-labels", "garbage");
    reason = "test split of 'digits'";
  }
  SUBCASE("a part of a site's work") {
    job.part = trainer::Part{};
    job.part->key = "t1";
    job.part->base = job.layout;
    reason = "it is for flops-site";
  }
  SUBCASE("out of the protocol's range") {
    job.training.epochs = 0;
    reason = "'training.epochs' must be";
  }
  SUBCASE("divergence") {
    job.training = {50, 16, "sgd", 1000, 0.9, 0, "mse"};
    reason = "training diverged: the loss is";
  }
  const int pid = trainer.pid();
  const Heard heard = trainer.run(job, base, result);
  CHECK(heard.error_kind() == ErrorKind::permanent);
  CHECK_MESSAGE(heard.end->error().what.find(reason) != std::string::npos, heard.end->error().what);
  const auto untouched = floats_of(result);
  CHECK(std::all_of(untouched.begin(), untouched.end(), [](float value) { return value == 0; }));

  const Fd next = memory(0);
  CHECK(*trainer.run(trainer.init_job("softmax", 1), Fd(), next).end);
  CHECK(trainer.pid() == pid);
}

TEST_CASE("flops-trainer: a job without the descriptors of its kind is refused before anything starts") {
  RealTrainer trainer;
  Heard heard;
  const auto started = trainer->start(trainer.init_job("softmax", 1), {}, heard.callbacks());
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::bug);
  CHECK_FALSE(trainer->busy());
  CHECK_FALSE(trainer->worker_pid());
}

// The limit cannot hold for a process with shadow memory.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("flops-trainer: a job that needs more memory than it may have fails, and the next one works") {
  trainer::ProcessTrainerOptions options;
  options.memory_limit_mb = 900;
  RealTrainer trainer(options);
  auto [job, base] = trainer.prepared("cnn-mcmahan");
  write_digits(trainer.folder, "test", 12'000, 2);  // its first layer needs 1.2 GB in one batch
  job.kind = JobKind::evaluate;
  job.evaluate_batch = 12'000;
  const int pid = trainer.pid();
  const Heard heard = trainer.run(job, base, Fd());
  CHECK(heard.error_kind() == ErrorKind::resource);
  job.evaluate_batch = 100;
  CHECK(*trainer.run(job, base, Fd()).end);
  CHECK(trainer.pid() == pid);
}
#endif
