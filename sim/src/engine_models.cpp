// Model versions and their measurement.
#include <algorithm>
#include <numeric>

#include "engine.hpp"

namespace flops::sim {
namespace {

constexpr std::uint32_t piece_samples = 1000;

}  // namespace

// With the step of the node's algorithm. Its state from round to round is the node's own.
Result<aggregation::NewModel> Simulation::Engine::close(const ClusterId& node) {
  const bool over_clusters = node.empty() && !tree_.flat();
  const aggregation::ServerStep step{over_clusters ? algorithms_.clusters.get() : algorithms_.devices.get(),
                                     states_[node], over_clusters ? members_.size() : members_[node]};
  Node& work = nodes_[node];
  work.totals = work.sum->totals();
  auto model = work.sum->close(models_, step);
  if (!model) {
    return model;
  }
  states_[node] = model->state;
  std::set<Digest> needed;
  for (const auto& [of, state] : states_) {
    needed.insert(state);
  }
  auto kept = models_.keep_states(needed);
  return kept ? model : fail(kept.error());
}

Result<> Simulation::Engine::load_version(const Digest& model, const Digest& previous) {
  auto file = models_.open(model);
  if (!file) {
    return fail(file.error());
  }
  auto values = std::make_shared<std::vector<float>>(file->layout.parameters());
  constexpr std::size_t block = tensor::block_elements;
  const tensor::FloatSource source = file->values();
  for (std::size_t offset = 0; offset < values->size(); offset += block) {
    const auto part = std::span(*values).subspan(offset, std::min(block, values->size() - offset));
    if (auto read = source(offset, part); !read) {
      return read;
    }
  }
  versions_.insert_or_assign(model, Version{std::move(values), previous, {}, {}});
  return {};
}

// Kept are the newest, those before them, from which deltas are made, and those that open tasks and clusters started
// from.
void Simulation::Engine::drop_old_versions() {
  std::set<Digest> needed = closing_;
  needed.insert(tree_.top.model);
  for (const auto& [cluster, part] : tree_.parts) {
    needed.insert(part.model);
  }
  for (const auto& [of, participant] : tree_.top.participants) {
    needed.insert(participant.base);
  }
  for (const Digest& model : std::set<Digest>(needed)) {
    if (const auto version = versions_.find(model); version != versions_.end()) {
      needed.insert(version->second.previous);
    }
  }
  for (const auto& [task, open] : open_) {
    needed.insert(open.base);
  }
  std::erase_if(versions_, [&](const auto& entry) {
    if (needed.contains(entry.first)) {
      return false;
    }
    std::error_code ignored;
    std::filesystem::remove(models_.path_of(entry.first), ignored);
    return true;
  });
  std::erase_if(held_, [&](const auto& entry) { return !needed.contains(entry.second); });
}

// In pieces of fixed size, so that the sum does not depend on the number of threads.
Result<Measurement> Simulation::Engine::measure(const Values& values) {
  if (test_pieces_.empty()) {
    const models::Split& whole = population_.whole_test();
    for (std::uint32_t first = 0; first < whole.count; first += piece_samples) {
      std::vector<std::uint32_t> places(std::min(piece_samples, whole.count - first));
      std::iota(places.begin(), places.end(), first);
      test_pieces_.push_back(models::subset(whole, places));
    }
  }
  const models::TrainingPlan plan{.loss = tree_.spec.training.loss};
  std::vector<std::future<Result<Measurement>>> parts;
  for (const models::Split& piece : test_pieces_) {
    parts.push_back(pool_.submit([this, &piece, values, plan](int thread) {
      return learnings_[static_cast<std::size_t>(thread)].measure(*values, piece, plan);
    }));
  }
  Measurement sum;
  std::optional<Error> problem;
  for (auto& part : parts) {
    const auto measured = part.get();
    if (!measured) {
      problem = measured.error();
      continue;
    }
    const auto samples = static_cast<double>(measured->samples);
    sum.loss += measured->loss * samples;
    sum.accuracy += measured->accuracy * samples;
    sum.samples += measured->samples;
  }
  if (problem) {
    return fail(*problem);
  }
  sum.loss /= static_cast<double>(sum.samples);
  sum.accuracy /= static_cast<double>(sum.samples);
  return sum;
}

RoundRecord& Simulation::Engine::record(const ClusterId& node, std::int64_t round) {
  RoundRecord& found = records_[{node, round}];
  found.cluster = node.str();
  found.round = round;
  return found;
}

void Simulation::Engine::close_record(const ClusterId& node, std::int64_t round, const aggregation::NewModel& model) {
  RoundRecord& closed = record(node, round);
  closed.virtual_seconds = timeline_.seconds();
  const bool due = round % project_.evaluate_every == 0 || round == tree_.top.spec.rounds;
  if (node.empty() && project_.central_evaluation && due) {
    auto measured = measure(versions_.at(model.digest).values);
    if (measured) {
      closed.central = *measured;
    } else {
      failed(measured.error(), fmt::format("measuring the model of round {}", round));
    }
  }
  closed.seconds = seconds();
  if (node.empty() && *on_round_) {
    (*on_round_)(closed);
  }
}

double Simulation::Engine::seconds() const {
  return Seconds(SystemClock().steady() - begun_).count();
}

Result<> Simulation::Engine::copy_model(const std::filesystem::path& to) const {
  std::error_code error;
  std::filesystem::copy_file(models_.path_of(newest_), to, std::filesystem::copy_options::overwrite_existing, error);
  return error ? fail(ErrorKind::permanent, "writing the model to {}: {}", to.string(), error.message()) : Result<>();
}

}  // namespace flops::sim
