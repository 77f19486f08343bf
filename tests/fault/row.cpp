#include "row.hpp"

#include <cerrno>

#include <sys/mount.h>
#include <sys/prctl.h>

#include "invariants.hpp"

namespace flops::faults {
namespace {

using std::chrono::steady_clock;

bool is_below(const std::filesystem::path& path, const std::filesystem::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

// In a mount namespace of our own the shared folders are ours alone, so that whatever appears there was left by a
// program of this row. /run: `ip netns` keeps its names there.
Result<> cover_shared_folders(const RowOptions& options) {
  for (const char* folder : {"/tmp", "/dev/shm", "/run"}) {
    if (is_below(options.folder, folder) || is_below(options.programs, folder)) {
      return fail(ErrorKind::permanent, "the folder of the run and the programs must not be in {}", folder);
    }
    if (::mount("none", folder, "tmpfs", 0, "size=64m") != 0) {
      return fail(errno_error(errno, fmt::format("covering {}", folder)));
    }
  }
  return {};
}

Result<std::vector<std::string>> models_of(const std::filesystem::path& reference) {
  if (reference.empty()) {
    return std::vector<std::string>();
  }
  auto outcome = load_outcome(reference);
  return outcome ? Result<std::vector<std::string>>(outcome->models) : fail(outcome.error());
}

void play(Stage& stage, const Scenario& scenario, const std::vector<std::string>& reference) {
  Fleet fleet(stage, scenario.setup);
  if (auto played = scenario.play(stage, fleet); !played) {
    stage.problem(played.error().what);
  }
  fleet.stop();
  check_ledgers(stage, fleet, reference);
  check_logs(stage, scenario.expected_errors);
  check_nothing_left(stage);  // runs the loop, for which the fleet must still be there
}

}  // namespace

Result<Outcome> play_row(const Scenario& scenario, const RowOptions& options) {
  const auto begin = steady_clock::now();
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return fail(errno_error(errno, "becoming the parent of orphans"));
  }
  if (auto covered = options.sealed ? cover_shared_folders(options) : Result<>(); !covered) {
    return fail(covered.error());
  }
  auto reference = models_of(options.reference);
  auto stage = Stage::set(options.folder, options.programs, options.seed, options.sealed);
  if (!reference || !stage) {
    return fail(reference ? stage.error() : reference.error());
  }
  // A new network namespace begins with everything down.
  if (auto up = options.sealed ? run_tool(**stage, "ip", {"link", "set", "lo", "up"}) : Result<>(); !up) {
    return fail(up.error());
  }
  play(**stage, scenario, *reference);
  (*stage)->outcome.row = scenario.name;
  (*stage)->outcome.seconds = std::chrono::duration<double>(steady_clock::now() - begin).count();
  if (auto saved = save((*stage)->outcome, options.folder / "outcome.json"); !saved) {
    return fail(saved.error());
  }
  return (*stage)->outcome;
}

}  // namespace flops::faults
