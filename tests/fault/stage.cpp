#include "stage.hpp"

#include <cstdlib>

#include <unistd.h>

#include "flops/core/file.hpp"
#include "flops/core/log.hpp"
#include "flops/test/wait.hpp"

namespace flops::faults {

using std::chrono::steady_clock;

Stage::Stage(std::filesystem::path place, std::filesystem::path bin, std::uint64_t seed, bool own_namespaces)
    : folder(std::move(place)), programs(std::move(bin)), sealed(own_namespaces), random(seed) {}

Result<std::unique_ptr<Stage>> Stage::set(std::filesystem::path folder, std::filesystem::path programs,
                                          std::uint64_t seed, bool sealed) {
  std::unique_ptr<Stage> stage(new Stage(std::move(folder), std::move(programs), seed, sealed));
  const auto outside = stage->folder / "outside";
  for (const char* name : {"logs", "data", "outside/cwd", "outside/home", "outside/tmp"}) {
    if (auto made = make_folder(stage->folder / name); !made) {
      return fail(made.error());
    }
  }
  if (::chdir((outside / "cwd").c_str()) != 0) {
    return fail(errno_error(errno, "entering the working folder"));
  }
  ::setenv("HOME", (outside / "home").c_str(), 1);
  ::setenv("TMPDIR", (outside / "tmp").c_str(), 1);
  auto logs = LogWatch::open(stage->loop, stage->folder / "logs");
  if (!logs) {
    return fail(logs.error());
  }
  stage->logs = *std::move(logs);
  return stage;
}

Result<> Stage::until(const std::string& what, const std::function<bool()>& condition,
                      std::chrono::milliseconds deadline) {
  if (!test::run_until(loop, condition, deadline)) {
    return fail(ErrorKind::transient, "gave up waiting for {} after {} s", what, deadline.count() / 1000);
  }
  return {};
}

Result<> Stage::until_polled(const std::string& what, const std::function<bool()>& condition,
                             std::chrono::milliseconds deadline) {
  constexpr std::chrono::milliseconds interval(200);
  auto next = steady_clock::now();
  return until(
      what,
      [&] {
        if (steady_clock::now() < next) {
          return false;
        }
        const bool holds = condition();
        next = steady_clock::now() + interval;
        return holds;
      },
      deadline);
}

void Stage::let_pass(std::chrono::milliseconds time) {
  const auto end = steady_clock::now() + time;
  (void)test::run_until(loop, [end] { return steady_clock::now() >= end; }, time * 2);
}

void Stage::problem(std::string text) {
  log::error("row", "{}", text);
  outcome.problems.push_back(std::move(text));
}

void Stage::struck(const std::string& kind) {
  log::info("row", "struck: {}", kind);
  ++outcome.faults[kind];
  down_since_[kind] = steady_clock::now();
}

void Stage::recovered(const std::string& kind) {
  const auto down = down_since_.find(kind);
  if (down == down_since_.end()) {
    return;
  }
  const double seconds = std::chrono::duration<double>(steady_clock::now() - down->second).count();
  down_since_.erase(down);
  outcome.slowest_recovery[kind] = std::max(outcome.slowest_recovery[kind], seconds);
}

std::filesystem::path Stage::log_of(const std::string& program) const {
  return folder / "logs" / (program + ".log");
}

}  // namespace flops::faults
