// What checkpoints cost a training. A real flops-trainer trains, this program does what the agent does with the
// checkpoints (Agent::checkpointed): memory at the agent's default interval, and the database.
//
// First the cost of one checkpoint for a few models: to memory as the difference between trainings with one after every
// batch and without any, to the disk as the time of the transaction. With that, share = memory / checkpoint_interval +
// disk / checkpoint_to_disk, as if nothing were trained while the agent waits for its disk. Then whole trainings with
// checkpoints at the default interval against trainings without, in pairs that take turns in who is first; one
// checkpoint of each training goes to the disk, which is more often than checkpoint_to_disk says. Of these also the
// processor time of both processes, which other load on the machine changes less. One compute thread, for the same
// reason. Progress goes to stderr, the figures as JSON to stdout.
//
//   bench_checkpoint [pairs (5)] [seconds of a training (24)] [folder for the database (a temporary one)]
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <time.h>

#include <fmt/format.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "flops/agent_config/config.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/core/clock.hpp"
#include "flops/core/io.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/test/digits.hpp"
#include "flops/test/temporary_folder.hpp"
#include "flops/trainer/trainer.hpp"

namespace {

using namespace flops;

constexpr double default_seconds = 24;  // two checkpoints at the default interval
constexpr int cost_pairs = 5;
constexpr double cost_seconds = 1;
constexpr std::int64_t disk_checkpoints = 9;

[[noreturn]] void give_up(std::string_view what) {
  fmt::print(stderr, "bench_checkpoint: {}\n", what);
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

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

double seconds_on(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) {
    give_up("clock_gettime failed");
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double seconds_since(SteadyTime begin) {
  return Seconds(SystemClock().steady() - begin).count();
}

struct Setting {
  std::string model;
  std::string optimizer;
};

struct Trained {
  double seconds = 0;
  double processor_seconds = 0;  // of the trainer and of this process
  std::uint64_t checkpoints = 0;
  std::uint64_t bytes = 0;      // of one checkpoint
  std::vector<double> to_disk;  // seconds
};

// One model and its trainer.
class Training {
 public:
  Training(boost::asio::io_context& loop, const Setting& setting, agent::Storage& storage)
      : loop_(loop), storage_(storage), trainer_(loop.get_executor(), options()) {
    test::write_digits(folder_, "train", samples, 1);
    test::write_digits(folder_, "test", 100, 2);
    job_.kind = trainer::JobKind::init;
    job_.model = setting.model;
    base_ = expect(trainer::make_memfd("base", 0));
    const trainer::JobReport report = run(base_, Fd(), Fd(), {});
    job_.kind = trainer::JobKind::train;
    job_.layout = crypto::sha256(report.layout);
    job_.training.optimizer = setting.optimizer;
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
    parameter_bytes_ = static_cast<std::uint64_t>(info.st_size);
    (void)train(4, {}, 0);  // reads the data, and the processor gets warm
    epoch_seconds_ = train(4, {}, 0).seconds / 4;
  }

  [[nodiscard]] std::int64_t epochs_for(double seconds) const {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(seconds / epoch_seconds_ + 0.5));
  }
  [[nodiscard]] std::int64_t batches_of(std::int64_t epochs) const {
    return epochs * (samples + job_.training.batch - 1) / job_.training.batch;
  }
  [[nodiscard]] std::uint64_t parameters() const { return parameter_bytes_ / sizeof(float); }

  // The first `to_disk` checkpoints are stored as well.
  Trained train(std::int64_t epochs, trainer::CheckpointPolicy policy, std::uint64_t to_disk) {
    job_.training.epochs = epochs;
    job_.checkpoints = policy;
    const Fd result = expect(trainer::make_memfd("result", parameter_bytes_));
    const Fd checkpoint = expect(trainer::make_memfd("checkpoint", 0));
    Trained trained;
    const auto checkpointed = [&](const trainer::CheckpointNote& note) {
      ++trained.checkpoints;
      trained.bytes = note.place.bytes;
      if (trained.checkpoints <= to_disk) {
        trained.to_disk.push_back(store(checkpoint, note.place));
      }
    };
    const double before = processor_seconds();
    trained.seconds = run(result, base_, checkpoint, checkpointed).train_seconds;
    trained.processor_seconds = processor_seconds() - before;
    return trained;
  }

 private:
  [[nodiscard]] double processor_seconds() const {
    clockid_t worker{};
    if (::clock_getcpuclockid(trainer_.worker_pid().value_or(0), &worker) != 0) {
      give_up("clock_getcpuclockid failed");
    }
    return seconds_on(worker) + seconds_on(CLOCK_PROCESS_CPUTIME_ID);
  }

  static constexpr std::uint32_t samples = 640;

  static trainer::ProcessTrainerOptions options() {
    trainer::ProcessTrainerOptions options;
    options.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "flops-trainer";
    options.threads = 1;
    options.nice = 0;
    options.background = false;  // other load would drown what is measured
    options.warm_for = std::chrono::hours(1);
    return options;
  }

  trainer::JobReport run(const Fd& result, const Fd& parameters, const Fd& checkpoint,
                         std::function<void(const trainer::CheckpointNote&)> checkpointed) {
    std::optional<Result<trainer::JobReport>> end;
    trainer::JobCallbacks callbacks;
    callbacks.progress = [](const trainer::Progress&) {};
    callbacks.evaluated = [](const trainer::Evaluation&) {};
    callbacks.checkpointed = std::move(checkpointed);
    callbacks.finished = [&end](Result<trainer::JobReport> outcome) { end = std::move(outcome); };
    expect(trainer_.start(job_, {parameters.get(), result.get(), checkpoint.get()}, std::move(callbacks)));
    while (!end) {
      loop_.run_one();
    }
    return expect(std::move(*end));
  }

  // As the agent does; also what it does later, when it is idle.
  double store(const Fd& memory, const trainer::Place& place) {
    const TaskId task = expect(TaskId::parse("bench"));
    const SteadyTime begin = SystemClock().steady();
    expect(storage_.transaction([&] {
      return storage_.put_checkpoint(task, place.bytes, [&](std::uint64_t offset, std::span<std::byte> into) {
        return read_at(memory.get(), place.offset + offset, into);
      });
    }));
    expect(storage_.tidy());
    return seconds_since(begin);
  }

  boost::asio::io_context& loop_;
  agent::Storage& storage_;
  test::TemporaryFolder folder_;
  trainer::ProcessTrainer trainer_;
  trainer::Job job_;
  Fd base_;
  std::uint64_t parameter_bytes_ = 0;
  double epoch_seconds_ = 1;
};

// The cost of one checkpoint, as a JSON object.
std::string cost(boost::asio::io_context& loop, const Setting& setting, agent::Storage& storage,
                 const agent::Config& defaults) {
  Training training(loop, setting, storage);
  const std::int64_t epochs = training.epochs_for(cost_seconds);
  std::vector<double> to_memory;
  for (int pair = 0; pair < cost_pairs; ++pair) {
    Trained each[2];
    for (const int which : {pair % 2, 1 - pair % 2}) {
      each[which] = training.train(epochs, {which, 0}, 0);
    }
    to_memory.push_back((each[1].seconds - each[0].seconds) / static_cast<double>(each[1].checkpoints));
  }
  const std::int64_t often = std::max<std::int64_t>(1, training.batches_of(epochs) / (disk_checkpoints + 1));
  const Trained stored = training.train(epochs, {often, 0}, disk_checkpoints);
  const double memory = median(to_memory);
  const double disk = median(stored.to_disk);
  const double share =
      memory / Seconds(defaults.checkpoint_interval).count() + disk / Seconds(defaults.checkpoint_to_disk).count();
  fmt::print(stderr, "{} under {}: a checkpoint of {} bytes costs {:.2f} ms to memory, {:.1f} ms to the disk\n",
             setting.model, setting.optimizer, stored.bytes, memory * 1e3, disk * 1e3);
  return fmt::format(R"({{"model":"{}","optimizer":"{}","parameters":{},"checkpoint_bytes":{},"to_memory_ms":{:.3f},)"
                     R"("to_disk_ms":{:.2f},"to_disk_ms_most":{:.2f},"share_percent":{:.4f}}})",
                     setting.model, setting.optimizer, training.parameters(), stored.bytes, memory * 1e3, disk * 1e3,
                     stored.to_disk.empty() ? 0 : std::ranges::max(stored.to_disk) * 1e3, share * 100);
}

// Whole trainings with and without, as a JSON object.
std::string compare(boost::asio::io_context& loop, const Setting& setting, agent::Storage& storage,
                    const agent::Config& defaults, int pairs, double seconds) {
  Training training(loop, setting, storage);
  const std::int64_t epochs = training.epochs_for(seconds);
  const trainer::CheckpointPolicy policies[] = {
      {}, {defaults.checkpoint_batches, Seconds(defaults.checkpoint_interval).count()}};
  std::vector<double> ratios;
  std::vector<double> processor_ratios;
  std::vector<double> without;
  std::uint64_t checkpoints = 0;
  std::uint64_t to_disk = 0;
  for (int pair = 0; pair < pairs; ++pair) {
    Trained each[2];
    for (const int which : {pair % 2, 1 - pair % 2}) {
      each[which] = training.train(epochs, policies[which], 1);
    }
    ratios.push_back(each[1].seconds / each[0].seconds);
    processor_ratios.push_back(each[1].processor_seconds / each[0].processor_seconds);
    without.push_back(each[0].seconds);
    checkpoints += each[1].checkpoints;
    to_disk += each[1].to_disk.size();
    fmt::print(stderr, "pair {}: {:.2f} s without, {:.2f} s with {} checkpoints: {:.4f}, of processor time {:.4f}\n",
               pair + 1, each[0].seconds, each[1].seconds, each[1].checkpoints, ratios.back(), processor_ratios.back());
  }
  const auto [least, most] = std::ranges::minmax(ratios);
  return fmt::format(
      R"({{"model":"{}","optimizer":"{}","pairs":{},"seconds_without":{:.2f},"checkpoints":{},"to_disk":{},)"
      R"("ratio":{:.4f},"ratio_least":{:.4f},"ratio_most":{:.4f},"processor_ratio":{:.4f}}})",
      setting.model, setting.optimizer, pairs, median(without), checkpoints, to_disk, median(ratios), least, most,
      median(processor_ratios));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto number = [&](std::size_t n, double otherwise) {
    return n < arguments.size() ? std::max(std::strtod(arguments[n].c_str(), nullptr), 1.0) : otherwise;
  };
  const test::TemporaryFolder temporary;
  const std::filesystem::path folder = arguments.size() > 2 ? std::filesystem::path(arguments[2]) : temporary.path();
  auto storage = expect(agent::Storage::open(folder, agent::Damaged::refuse, 0));
  const agent::Config defaults;
  boost::asio::io_context loop;
  const auto keep_running = boost::asio::make_work_guard(loop);

  std::string costs;
  for (const Setting& setting :
       {Setting{"2nn", "sgd"}, Setting{"cnn-mcmahan", "sgd"}, Setting{"cnn-mcmahan", "adam"}}) {
    costs += (costs.empty() ? "" : ",") + cost(loop, setting, storage, defaults);
  }
  const int pairs = static_cast<int>(number(0, 5));
  const std::string trainings =
      compare(loop, {"cnn-mcmahan", "sgd"}, storage, defaults, pairs, number(1, default_seconds));
  fmt::print(R"({{"checkpoint_interval_s":{},"checkpoint_to_disk_s":{},"costs":[{}],"trainings":{}}})"
             "\n",
             Seconds(defaults.checkpoint_interval).count(), Seconds(defaults.checkpoint_to_disk).count(), costs,
             trainings);
}
