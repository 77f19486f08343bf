// SCAFFOLD in the real flops-trainer: the bytes are those of the training loop itself, whatever happens on the way.
#include <cmath>
#include <limits>

#include <dlfcn.h>

#include "flops/models/training.hpp"
#include "flops/tensor/control_variates.hpp"
#include "jobs.hpp"

using namespace flops;
using namespace flops::test;

namespace {

using Values = std::vector<float>;

// Trainers choose OpenBLAS's kernels by the processor; this process has chosen already.
void use_the_same_kernels() {
  using Name = char* (*)();
  if (void* found = ::dlsym(RTLD_DEFAULT, "openblas_get_corename")) {
    ::setenv("OPENBLAS_CORETYPE", reinterpret_cast<Name>(found)(), 1);
  }
  models::configure_runtime(1);
}

Values wave(std::size_t count, float step) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = 0.02F * std::sin(step * static_cast<float>(i));
  }
  return values;
}

Values joined(Values first, const Values& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Fd holding(const Values& values) {
  Fd fd = memory(values.size() * sizeof(float));
  REQUIRE(::pwrite(fd.get(), values.data(), values.size() * sizeof(float), 0) ==
          static_cast<ssize_t>(values.size() * sizeof(float)));
  return fd;
}

// A job of 60 batches with control variates that are not zero.
struct Scaffold {
  explicit Scaffold(RealTrainer& trainer, const std::string& name = "cnn-norm") {
    auto [prepared, parameters] = trainer.prepared(name);
    job = prepared;
    x = floats_of(parameters);
    model.emplace(*models::Model::create(name, 0));
    server = wave(x.size(), 0.37F);
    own = wave(x.size(), 0.11F);
    job.layout = tensor::with_variates(model->layout())->id();
    job.control_variates = true;
    job.evaluate_first = false;
    job.training = {3, 16, "sgd", 0.05, 0, 0, "cross_entropy"};
    job.checkpoints.batches = 5;
    base = holding(joined(x, server));
    result = memory(2 * x.size() * sizeof(float));
    variates = holding(joined(own, Values(x.size())));
  }
  [[nodiscard]] Result<> start(RealTrainer& trainer, Heard& heard) const {
    return trainer->start(job, {base.get(), result.get(), checkpoint.get(), variates.get()}, heard.callbacks());
  }
  // The training loop in this process; also the device's new variate.
  [[nodiscard]] Values directly(Values& after) {
    const auto split = models::read_idx(job.dataset.train_samples, job.dataset.train_labels);
    REQUIRE(split);
    REQUIRE(model->load(x));
    after = own;
    const models::TrainingPlan plan{.epochs = 3, .batch = 16, .learning_rate = 0.05};
    const auto go_on = [](auto&&...) { return Result<>(); };
    REQUIRE(models::train(*model, *split, plan, job.seed, go_on, {}, {server, after}));
    Values both(2 * x.size());
    REQUIRE(model->store(std::span(both).first(x.size())));
    tensor::variate_to_return(server, own, after, std::span(both).subspan(x.size()));
    return both;
  }
  void check_result() {
    Values after;
    CHECK(floats_of(result) == directly(after));
    CHECK(floats_of(variates) == joined(own, after));
    CHECK(after != own);
  }

  trainer::Job job;
  std::optional<models::Model> model;
  Values x, server, own;
  Fd base, result, variates;
  Fd checkpoint = memory(0);
};

}  // namespace

TEST_CASE("control variates: a job gives the bytes of the training loop, again and again") {
  use_the_same_kernels();
  RealTrainer trainer;
  Scaffold work(trainer);
  for (int time = 0; time < 2; ++time) {
    const Heard heard = trainer.run(work.job, work.base, work.result, work.variates);
    REQUIRE(*heard.end);
    CHECK((*heard.end)->steps == 60);
    work.check_result();
  }
}

TEST_CASE("control variates: a worker killed again and again ends in the same bytes") {
  use_the_same_kernels();
  RealTrainer trainer;
  Scaffold work(trainer);
  for (const std::uint64_t kill_at : {5U, 30U}) {
    Heard heard;
    REQUIRE(work.start(trainer, heard));
    REQUIRE(trainer.run_until([&] {
      return heard.end.has_value() || (!heard.checkpoints.empty() && heard.checkpoints.back().done >= kill_at);
    }));
    REQUIRE_FALSE(heard.end);
    REQUIRE(::kill(trainer.pid(), SIGKILL) == 0);
    REQUIRE(trainer.run_until([&] { return heard.end.has_value(); }));
    work.job.resume = heard.checkpoints.back().place;
  }
  Heard last;
  REQUIRE(work.start(trainer, last));
  REQUIRE(trainer.run_until([&] { return last.end.has_value(); }));
  REQUIRE(*last.end);
  CHECK((*last.end)->resumed_at >= 30);
  work.check_result();
}

TEST_CASE("control variates: initial ones are zero, and only the model is evaluated") {
  RealTrainer trainer;
  trainer::Job init = trainer.init_job("softmax", 5);
  const Fd plain = memory(0);
  REQUIRE(*trainer.run(init, Fd(), plain).end);
  init.control_variates = true;
  const Fd both = memory(0);
  const Heard made = trainer.run(init, Fd(), both);
  REQUIRE(*made.end);
  const Values x = floats_of(plain);
  CHECK(floats_of(both) == joined(x, Values(x.size())));
  const auto layout = tensor::Layout::parse((*made.end)->layout);
  REQUIRE(layout.has_value());
  CHECK(tensor::without_variates(*layout)->parameters() == x.size());

  auto [job, base] = trainer.prepared("softmax");
  job.kind = trainer::JobKind::evaluate;
  const Heard expected = trainer.run(job, base, Fd());
  REQUIRE(*expected.end);
  job.control_variates = true;
  job.layout = layout->id();
  const Heard measured = trainer.run(job, holding(joined(floats_of(base), wave(x.size(), 1))), Fd());
  REQUIRE(*measured.end);
  CHECK((*measured.end)->evaluation->loss == (*expected.end)->evaluation->loss);
}

TEST_CASE("control variates: memory, layouts, values and plans that do not fit are refused") {
  RealTrainer trainer;
  Scaffold work(trainer, "softmax");
  const char* reason = "";
  SUBCASE("no room for the new one") {
    work.variates = holding(work.own);
    reason = "control variates: the memory for";
  }
  SUBCASE("a result without them") {
    work.result = memory(work.x.size() * sizeof(float));
    reason = "trained parameters";
  }
  SUBCASE("a base without them") {
    work.base = holding(work.x);
    reason = "base model";
  }
  SUBCASE("the layout of the model alone") {
    work.job.layout = work.model->layout().id();
    reason = "has the layout";
  }
  SUBCASE("not finite") {
    work.server[3] = std::numeric_limits<float>::quiet_NaN();
    work.base = holding(joined(work.x, work.server));
    reason = "not finite";
  }
  SUBCASE("momentum") {
    work.job.training.momentum = 0.9;
    reason = "plain sgd";
  }
  const Heard heard = trainer.run(work.job, work.base, work.result, work.variates);
  CHECK(heard.error_kind() == ErrorKind::permanent);
  CHECK_MESSAGE(heard.end->error().what.find(reason) != std::string::npos, heard.end->error().what);
}
