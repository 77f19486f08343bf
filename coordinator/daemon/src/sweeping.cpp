// What nothing needs any more: stored updates, and what algorithms kept.
#include <algorithm>
#include <array>
#include <iterator>

#include "flops/core/log.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

// Removes stored updates that nothing needs any more: of closed rounds, refused ones, what a crash left. Their order
// with what replaced them on the disk is kept by recording and syncing that first.
void RunController::sweep_updates() {
  if (!sweep_due_ || next_due_ || !records_.settled() || !parts_.registry.sync()) {
    return;
  }
  auto needed = needed_updates();
  if (!needed) {
    return;
  }
  sweep_due_ = false;
  for (const Digest& stored : parts_.updates.list()) {
    if (auto removed = needed->contains(stored) ? Result<>() : parts_.updates.remove(stored); !removed) {
      log::warn("updates", "{}", removed.error().what);
    }
  }
}

// The active run and those that are paused, as they are recorded.
Result<std::vector<rounds::Tree>> RunController::unfinished() {
  std::vector<rounds::Tree> trees;
  if (active_) {
    trees.push_back(active_->tree);
  }
  auto paused = parts_.registry.paused_runs();
  if (!paused) {
    return fail(paused.error());
  }
  for (const RunId& run : *paused) {
    auto row = parts_.registry.run(run);
    if (!row || !*row) {
      return row ? fail(ErrorKind::corrupt, "the record of run {} is gone", run) : fail(row.error());
    }
    trees.push_back(rounds::make_tree(std::move((*row)->state), std::move((*row)->parts)));
  }
  return trees;
}

Result<std::set<Digest>> RunController::needed_updates() {
  auto trees = unfinished();
  if (!trees) {
    return fail(trees.error());
  }
  std::set<Digest> needed;
  for (const rounds::Tree& tree : *trees) {
    auto of_this = updates_of(tree);
    if (!of_this) {
      return of_this;
    }
    needed.merge(*of_this);
  }
  if (active_) {
    for (const auto& [task, upload] : active_->uploads) {
      needed.insert(upload.result.update.sha256);
    }
  }
  return needed;
}

// Of open rounds, of clusters whose sums are in the open cycle's, and those that are not counted yet.
Result<std::set<Digest>> RunController::updates_of(const rounds::Tree& tree) {
  const RunId& run = tree.top.id;
  std::vector<std::pair<ClusterId, std::int64_t>> rounds;
  if (tree.flat()) {
    rounds.emplace_back(ClusterId(), tree.top.round);
  }
  for (const auto& [cluster, part] : tree.parts) {
    rounds.emplace_back(cluster, part.round);
  }
  auto done = parts_.registry.handed_up(run, tree.top.round);
  if (!done) {
    return fail(done.error());
  }
  for (const registry::HandedUpRow& row : *done) {
    rounds.emplace_back(row.cluster, row.round);
  }
  std::set<Digest> needed;
  for (const auto& [cluster, round] : rounds) {
    auto contributions = parts_.registry.contributions(run, round, cluster);
    if (!contributions) {
      return fail(contributions.error());
    }
    std::ranges::transform(*contributions, std::inserter(needed, needed.end()), &registry::ContributionRow::blob);
  }
  return needed;
}

// A power cut may take back that a round is over, so that is synced first.
void RunController::sweep_states() {
  if (!states_sweep_due_ || closing_ > 0 || next_due_ || !records_.settled() || !parts_.registry.sync()) {
    return;
  }
  auto needed = needed_states();
  if (!needed) {
    return;
  }
  states_sweep_due_ = false;
  parts_.worker.submit([models = parts_.models, needed = *std::move(needed)] { return models.keep_states(needed); },
                       [](const Result<>& kept) {
                         if (!kept) {
                           log::warn("runs", "{}", kept.error().what);
                         }
                       });
}

Result<std::set<Digest>> RunController::needed_states() {
  auto trees = unfinished();
  if (!trees) {
    return fail(trees.error());
  }
  std::set<Digest> needed;
  for (const rounds::Tree& tree : *trees) {
    std::map<ClusterId, std::int64_t> rounds{{ClusterId(), tree.top.round}};
    for (const auto& [cluster, part] : tree.parts) {
      rounds.emplace(cluster, part.round);
    }
    for (const auto& [cluster, open] : rounds) {
      for (const std::int64_t round : std::array{open - 1, open}) {
        auto state = parts_.registry.algorithm_state(tree.top.id, round, cluster);
        if (!state) {
          return fail(state.error());
        }
        needed.insert(*state);
      }
    }
  }
  return needed;
}

}  // namespace flops::coordinator
