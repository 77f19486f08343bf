// What a program that needs the processor loses while flops-trainer trains on the same core: the throughput of a
// foreground process alone, beside a trainer in the background, and beside one that is only nice. Everything is bound
// to one core. The order changes from round to round, and each measurement is compared with the one alone in the same
// round, because other load on the machine changes too; medians over the rounds. The foreground process and the trainer
// are in different sessions, as a user's program and a daemon's child are.
//
//   bench_background [rounds (9)] [seconds of a measurement (3)] [model (cnn-mcmahan)]
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/stat.h>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>

#include "flops/core/clock.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/process/child.hpp"
#include "flops/test/digits.hpp"
#include "flops/test/temporary_folder.hpp"
#include "flops/trainer/trainer.hpp"

namespace {

using namespace flops;

constexpr const char* foreground_flag = "--foreground";
constexpr std::size_t no_trainer = 2;

[[noreturn]] void give_up(std::string_view what) {
  fmt::print(stderr, "bench_background: {}\n", what);
  std::exit(1);
}

template <class T>
T expect(Result<T> result) {
  if (!result) {
    give_up(result.error().what);
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

// The foreground process: integer arithmetic over a table of 256 KiB until the time is over; prints steps a second.
int foreground(double seconds) {
  std::vector<std::uint32_t> table(std::size_t{1} << 16U, 1);
  const SystemClock clock;
  const SteadyTime begin = clock.steady();
  std::uint64_t state = 1;
  std::uint64_t steps = 0;
  Seconds spent{};
  while (spent.count() < seconds) {
    for (int i = 0; i < 20'000; ++i) {
      state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
      std::uint32_t& cell = table[state >> 48U];
      cell = cell * 31U + static_cast<std::uint32_t>(state >> 20U);
    }
    steps += 20'000;
    spent = clock.steady() - begin;
  }
  fmt::print("{:.1f}\n", static_cast<double>(steps) / spent.count());
  return table[7] == 0 ? 2 : 0;
}

void bind_to_one_core() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    give_up("sched_getaffinity failed");
  }
  std::size_t core = CPU_SETSIZE - 1;
  while (core > 0 && !CPU_ISSET(core, &allowed)) {
    --core;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) {
    give_up("sched_setaffinity failed");
  }
  fmt::print("everything on core {}\n", core);
}

// A trainer with its job; trains from start_training() to stop_training().
class Training {
 public:
  Training(boost::asio::io_context& loop, const std::filesystem::path& program, std::string model, bool background)
      : loop_(loop), trainer_(loop.get_executor(), options(program, background)) {
    test::write_digits(folder_, "train", 6'000, 1);
    test::write_digits(folder_, "test", 100, 2);
    job_.kind = trainer::JobKind::init;
    job_.model = std::move(model);
    base_ = expect(trainer::make_memfd("base", 0));
    checkpoint_ = expect(trainer::make_memfd("checkpoint", 0));
    begin(base_, Fd());
    const trainer::JobReport report = expect(wait());
    job_.kind = trainer::JobKind::train;
    job_.layout = crypto::sha256(report.layout);
    job_.training.epochs = 10'000;
    job_.dataset = {"digits",
                    "idx",
                    folder_ / "train-images",
                    folder_ / "train-labels",
                    folder_ / "test-images",
                    folder_ / "test-labels"};
    struct stat info{};
    if (::fstat(base_.get(), &info) != 0) {
      give_up("fstat failed");
    }
    result_ = expect(trainer::make_memfd("result", static_cast<std::uint64_t>(info.st_size)));
  }

  void start_training() {
    begin(result_, base_);
    batches_ = 0;
    while (batches_ == 0 && !end_) {
      loop_.run_one();
    }
    batches_before_ = batches_;
  }
  // How many batches were trained in between, as far as it has said.
  std::uint64_t stop_training() {
    const std::uint64_t trained = batches_ - batches_before_;
    trainer_.cancel();
    if (const auto outcome = wait(); outcome || outcome.error().kind != ErrorKind::cancelled) {
      give_up(outcome ? "the training ended too early" : outcome.error().what);
    }
    return trained;
  }

 private:
  static trainer::ProcessTrainerOptions options(const std::filesystem::path& program, bool background) {
    trainer::ProcessTrainerOptions options;
    options.program = program;
    options.threads = 1;
    options.background = background;
    options.warm_for = std::chrono::hours(1);
    return options;
  }

  void begin(const Fd& result, const Fd& parameters) {
    end_.reset();
    trainer::JobCallbacks callbacks;
    callbacks.progress = [this](const trainer::Progress& progress) {
      if (progress.phase == "training") {
        batches_ = progress.done;
      }
    };
    callbacks.finished = [this](Result<trainer::JobReport> outcome) { end_ = std::move(outcome); };
    expect(trainer_.start(job_, {parameters.get(), result.get(), checkpoint_.get()}, std::move(callbacks)));
  }

  Result<trainer::JobReport> wait() {
    while (!end_) {
      loop_.run_one();
    }
    return std::move(*end_);
  }

  boost::asio::io_context& loop_;
  test::TemporaryFolder folder_;
  trainer::ProcessTrainer trainer_;
  trainer::Job job_;
  Fd base_;
  Fd result_;
  Fd checkpoint_;
  std::optional<Result<trainer::JobReport>> end_;
  std::uint64_t batches_ = 0;  // of the job, as far as it has said
  std::uint64_t batches_before_ = 0;
};

double measure(boost::asio::io_context& loop, const std::filesystem::path& own, double seconds) {
  const test::TemporaryFolder folder;
  process::Command command;
  command.program = own;
  command.arguments = {foreground_flag, fmt::format("{}", seconds)};
  command.log_file = folder / "steps";
  std::optional<process::Exit> exit;
  const auto child =
      expect(process::Child::spawn(loop.get_executor(), command, [&exit](process::Exit ended) { exit = ended; }));
  while (!exit) {
    loop.run_one();
  }
  return std::strtod(expect(read_file(command.log_file)).c_str(), nullptr);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void compare(int rounds, double seconds, const std::string& model) {
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe");
  boost::asio::io_context loop;
  const auto keep_running = boost::asio::make_work_guard(loop);
  const std::filesystem::path program = own.parent_path() / "flops-trainer";
  Training background(loop, program, model, true);
  Training nice(loop, program, model, false);
  Training* const trainers[] = {&background, &nice};
  std::vector<double> speed[3];
  std::uint64_t batches[3] = {};
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t place = 0; place < 3; ++place) {
      const std::size_t which = (place + static_cast<std::size_t>(round)) % 3;
      if (which != no_trainer) {
        trainers[which]->start_training();
      }
      speed[which].push_back(measure(loop, own, seconds));
      if (which != no_trainer) {
        batches[which] += trainers[which]->stop_training();
      }
    }
  }
  const char* names[] = {"beside a trainer in the background", "beside a trainer that is only nice", "alone"};
  for (const std::size_t which : {no_trainer, std::size_t{0}, std::size_t{1}}) {
    std::vector<double> shares;
    std::ranges::transform(speed[which], speed[no_trainer], std::back_inserter(shares),
                           [](double beside, double alone) { return beside / alone * 100; });
    const auto [least, most] = std::ranges::minmax(shares);
    fmt::print(
        "{:<36} median {:6.1f} million steps/s; of alone in the same round: median {:5.1f} % ({:.1f} to {:.1f}); "
        "{} batches trained\n",
        names[which], median(speed[which]) / 1e6, median(shares), least, most, batches[which]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto number = [&](std::size_t n, double otherwise) {
    return n < arguments.size() ? std::max(std::strtod(arguments[n].c_str(), nullptr), 0.1) : otherwise;
  };
  if (!arguments.empty() && arguments[0] == foreground_flag) {
    return foreground(number(1, 1));
  }
  bind_to_one_core();
  compare(static_cast<int>(number(0, 9)) | 1, number(1, 3), arguments.size() > 2 ? arguments[2] : "cnn-mcmahan");
}
