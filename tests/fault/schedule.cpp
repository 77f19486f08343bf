#include "schedule.hpp"

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <optional>

#include <unistd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/test/wait.hpp"
#include "outcome.hpp"

namespace flops::faults {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto row_limit = 15min;

// "agent 10 (1.2 s)": how often, and the slowest recovery.
std::string faults_of(const Outcome& outcome) {
  std::string text;
  for (const auto& [kind, count] : outcome.faults) {
    const auto recovery = outcome.slowest_recovery.find(kind);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", kind, count);
    text += recovery == outcome.slowest_recovery.end() ? "" : fmt::format(" ({:.1f} s)", recovery->second);
  }
  return text;
}

class Schedule {
 public:
  explicit Schedule(const ScheduleOptions& options) : options_(options), signals_(loop_, SIGINT, SIGTERM) {
    signals_.async_wait([this](boost::system::error_code error, int) { interrupted_ = interrupted_ || !error; });
  }

  Result<> find_out_what_is_allowed();
  Result<> play(const std::vector<Scenario>& rows, std::uint64_t seed, steady_clock::time_point end);
  void print_table() const;
  [[nodiscard]] bool all_passed() const;
  [[nodiscard]] bool interrupted() const { return interrupted_; }
  [[nodiscard]] bool time_is_over(steady_clock::time_point end) const { return steady_clock::now() >= end; }

 private:
  struct Playing {
    std::string row;
    std::filesystem::path folder;
    steady_clock::time_point begin;
    std::unique_ptr<process::Child> child;
    bool over = false;
  };
  Result<> begin(const Scenario& row, std::uint64_t seed);
  void end(Playing& playing);
  void take(Outcome outcome);
  [[nodiscard]] process::Command command_for(const Scenario& row, std::uint64_t seed,
                                             const std::filesystem::path& folder) const;

  const ScheduleOptions& options_;
  boost::asio::io_context loop_{1};
  boost::asio::signal_set signals_;
  bool interrupted_ = false;
  bool sealed_ = false;
  int played_ = 0;
  std::vector<std::unique_ptr<Playing>> playing_;
  std::map<std::string, std::filesystem::path> references_;  // by setup
  std::vector<Outcome> outcomes_;
};

const std::vector<std::string> unshare = {"--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"};

Result<> Schedule::find_out_what_is_allowed() {
  process::Command command;
  command.program = "unshare";
  command.arguments = unshare;
  command.arguments.insert(command.arguments.end(), {"ip", "link", "set", "lo", "up"});
  command.log_file = options_.folder / "namespaces.log";
  std::optional<process::Exit> exit;
  auto child = process::Child::spawn(loop_.get_executor(), command, [&](process::Exit how) { exit = how; });
  if (child && test::run_until(loop_, [&] { return exit.has_value(); })) {
    sealed_ = !exit->signalled && exit->code == 0;
  }
  if (!sealed_) {
    fmt::print("No namespaces of our own (not root?): rows that need them are skipped.\n");
  }
  return {};
}

process::Command Schedule::command_for(const Scenario& row, std::uint64_t seed,
                                       const std::filesystem::path& folder) const {
  std::error_code error;
  std::vector<std::string> arguments = {std::filesystem::read_symlink("/proc/self/exe", error).string(),
                                        "--play",
                                        row.name,
                                        "--folder",
                                        folder.string(),
                                        "--programs",
                                        options_.programs.string(),
                                        "--seed",
                                        std::to_string(seed)};
  if (const auto reference = references_.find(row.setup.name); reference != references_.end() && row.compare) {
    arguments.insert(arguments.end(), {"--reference", reference->second.string()});
  }
  process::Command command;
  command.log_file = folder / "row.log";
  if (sealed_) {
    arguments.emplace_back("--sealed");
    arguments.insert(arguments.begin(), unshare.begin(), unshare.end());
    command.program = "unshare";
  } else {
    command.program = arguments.front();
    arguments.erase(arguments.begin());
  }
  command.arguments = std::move(arguments);
  return command;
}

Result<> Schedule::begin(const Scenario& row, std::uint64_t seed) {
  auto playing = std::make_unique<Playing>();
  playing->row = row.name;
  playing->folder = options_.folder / fmt::format("{:03}-{}", ++played_, row.name);
  playing->begin = steady_clock::now();
  if (auto made = make_folder(playing->folder); !made) {
    return made;
  }
  auto child = process::Child::spawn(loop_.get_executor(), command_for(row, seed, playing->folder),
                                     [raw = playing.get()](process::Exit) { raw->over = true; });
  if (!child) {
    return fail(child.error());
  }
  if (row.name.starts_with("undisturbed-")) {
    references_[row.setup.name] = playing->folder / "outcome.json";
  }
  playing->child = *std::move(child);
  playing_.push_back(std::move(playing));
  return {};
}

void Schedule::end(Playing& playing) {
  auto loaded = load_outcome(playing.folder / "outcome.json");
  Outcome outcome;
  if (loaded) {
    outcome = *std::move(loaded);
  } else {
    outcome.row = playing.row;
    outcome.seconds = std::chrono::duration<double>(steady_clock::now() - playing.begin).count();
    outcome.problems = {fmt::format("the row did not end by itself; {}", (playing.folder / "row.log").string())};
  }
  fmt::print("{:<7} {:<32} {:>6.1f} s  {}\n", outcome.passed() ? "passed" : "FAILED", outcome.row, outcome.seconds,
             faults_of(outcome));
  for (const std::string& problem : outcome.problems) {
    fmt::print("        {}\n", problem);
  }
  if (!outcome.passed()) {
    fmt::print("        folder: {}\n", playing.folder.string());
  } else if (!outcome.row.starts_with("undisturbed-")) {
    std::error_code ignored;
    std::filesystem::remove_all(playing.folder, ignored);
  }
  std::fflush(stdout);
  outcomes_.push_back(std::move(outcome));
}

// At most `jobs` at once; a row that hangs is ended.
Result<> Schedule::play(const std::vector<Scenario>& rows, std::uint64_t seed, steady_clock::time_point end_time) {
  auto next = rows.begin();
  while (!interrupted_ && ((next != rows.end() && !time_is_over(end_time)) || !playing_.empty())) {
    const bool more = next != rows.end() && !time_is_over(end_time);
    if (more && next->sealed && !sealed_) {
      fmt::print("skipped {:<32} needs root and namespaces\n", next->name);
      Outcome outcome;
      outcome.row = next->name;
      outcome.skipped = "needs root and namespaces";
      outcomes_.push_back(std::move(outcome));
      ++next;
      continue;
    }
    if (more && playing_.size() < static_cast<std::size_t>(options_.jobs)) {
      if (auto begun = begin(*next++, seed); !begun) {
        return begun;
      }
      continue;
    }
    const auto somebody_ended = [&] {
      return interrupted_ || std::ranges::any_of(playing_, [](const auto& playing) { return playing->over; });
    };
    (void)test::run_until(loop_, somebody_ended, 1s);
    for (const auto& playing : playing_) {
      if (playing->over) {
        end(*playing);
      } else if (steady_clock::now() - playing->begin > row_limit) {
        playing->child->signal(SIGKILL);
      }
    }
    std::erase_if(playing_, [](const auto& playing) { return playing->over; });
  }
  playing_.clear();  // interrupted: ends them, and with them all they started
  return {};
}

bool Schedule::all_passed() const {
  return !interrupted_ &&
         std::ranges::all_of(outcomes_, [](const Outcome& outcome) { return outcome.problems.empty(); });
}

void Schedule::print_table() const {
  std::map<std::string, int> faults;
  std::map<std::string, double> slowest;
  int passed = 0;
  int skipped = 0;
  for (const Outcome& outcome : outcomes_) {
    passed += outcome.passed() ? 1 : 0;
    skipped += outcome.skipped.empty() ? 0 : 1;
    for (const auto& [kind, count] : outcome.faults) {
      faults[kind] += count;
    }
    for (const auto& [kind, seconds] : outcome.slowest_recovery) {
      slowest[kind] = std::max(slowest[kind], seconds);
    }
  }
  fmt::print("\n{:<14} {:>8} {:>18}\n", "FAULT", "INJECTED", "SLOWEST RECOVERY");
  for (const auto& [kind, count] : faults) {
    const auto recovery = slowest.find(kind);
    fmt::print("{:<14} {:>8} {:>18}\n", kind, count,
               recovery == slowest.end() ? std::string("-") : fmt::format("{:.1f} s", recovery->second));
  }
  fmt::print("\nrows: {} passed, {} failed, {} skipped\n", passed,
             static_cast<int>(outcomes_.size()) - passed - skipped, skipped);
}

}  // namespace

Result<bool> play_all(const std::vector<Scenario>& rows, const std::vector<Scenario>& references,
                      const ScheduleOptions& options) {
  Schedule schedule(options);
  if (auto found = schedule.find_out_what_is_allowed(); !found) {
    return fail(found.error());
  }
  const auto no_end = steady_clock::time_point::max();
  const auto end = options.minutes > 0 ? steady_clock::now() + std::chrono::minutes(options.minutes) : no_end;
  if (auto played = schedule.play(references, options.seed, no_end); !played) {
    return fail(played.error());
  }
  std::uint64_t seed = options.seed;
  do {
    if (auto played = schedule.play(rows, seed++, end); !played) {
      return fail(played.error());
    }
  } while (options.minutes > 0 && !schedule.time_is_over(end) && !schedule.interrupted());
  schedule.print_table();
  return schedule.all_passed();
}

}  // namespace flops::faults
