#include "flops/manifest/manifest.hpp"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include <fmt/ranges.h>

#include "draft.hpp"
#include "flops/crypto/digest.hpp"

namespace flops::manifest {
namespace {

constexpr std::array<std::string_view, 6> models = {"2nn",       "cnn-mcmahan", "cnn-norm",
                                                    "cnn-small", "logistic-13", "softmax"};

algorithms::Spec finish(const AlgorithmDraft& draft) {
  algorithms::Spec spec = algorithms::defaults(draft.name);
  const auto set = [](double& target, double value) { target = value < 0 ? target : value; };
  set(spec.server_learning_rate, draft.server_learning_rate);
  set(spec.momentum, draft.momentum);
  set(spec.second_momentum, draft.second_momentum);
  set(spec.adaptivity, draft.adaptivity);
  set(spec.proximal, draft.proximal);
  return spec;
}

std::int64_t seconds(std::chrono::milliseconds time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

// The problem is said as parse_run_spec() says it: "field: what".
Result<> finish(Draft& draft) {
  rounds::RunSpec& run = draft.manifest.run;
  const bool async = draft.mode == "async";
  run.seed = static_cast<std::uint64_t>(draft.seed);
  (void)rounds::parse_decay(draft.decay, run.schedule.decay);
  run.mode = async ? rounds::Mode::async : rounds::Mode::sync;
  run.buffer = async && draft.buffer == unset ? run.min_fit : std::max<std::int64_t>(draft.buffer, 0);
  run.max_staleness = draft.max_staleness != unset ? draft.max_staleness : (async ? rounds::async_max_staleness : 0);
  run.min_available = draft.min_available == unset ? std::max(run.min_fit, run.buffer) : draft.min_available;
  run.deadline_seconds = seconds(draft.deadline);
  run.algorithm = finish(draft.algorithm);
  run.requirements.architecture = {draft.architecture.begin(), draft.architecture.end()};
  run.global.min_available = draft.global_min_available == unset ? run.global.min_fit : draft.global_min_available;
  run.global.deadline_seconds = seconds(draft.global_deadline);
  run.global.algorithm = finish(draft.global_algorithm);
  std::string problems;
  const auto wrong = [&problems](const std::string& line) { problems += (problems.empty() ? "" : "\n") + line; };
  if (!async && draft.buffer != unset) {
    wrong("buffer: only for mode async");
  }
  if (draft.clusters.empty()) {
    if (run.global != rounds::LevelSpec()) {
      wrong("global: only for a run with clusters");
    }
  } else if (auto clusters = rounds::Grouping::parse(draft.clusters)) {
    run.clusters = *std::move(clusters);
  } else {
    wrong("clusters: " + clusters.error().what);
  }
  if (run.goal.empty() && run.goal != rounds::Goal()) {
    wrong("goal: names no goal: accuracy, loss or patience");
  }
  // The rules that a coordinator has for a run.
  if (auto checked = rounds::parse_run_spec(rounds::to_json(run)); !checked) {
    wrong(checked.error().what);
  }
  return problems.empty() ? Result<>() : fail(ErrorKind::permanent, "{}", problems);
}

// "file:line: 'key': message" of "field: message".
std::string explained(const std::string& problem, const std::string& file, const ConfigSpec& spec) {
  const std::size_t colon = problem.find(": ");
  if (colon == std::string::npos) {
    return fmt::format("{}: {}", file, problem);
  }
  const std::string key = key_of(problem.substr(0, colon));
  const std::size_t line = spec.line_of(key);
  const std::string where = line == 0 ? file : fmt::format("{}:{}", file, line);
  return fmt::format("{}: '{}': {}", where, key, problem.substr(colon + 2));
}

}  // namespace

Result<Manifest> parse(std::string_view toml, const std::string& file, const std::vector<std::string>& overrides) {
  if (toml.size() > max_bytes) {
    return fail(ErrorKind::permanent, "{}: {} bytes; at most {}", file, toml.size(), max_bytes);
  }
  Draft draft;
  ConfigSpec spec("flops.toml");
  bind(spec, draft);
  std::vector<std::string> problems;
  if (auto parsed = spec.parse(toml, file); !parsed) {
    problems.push_back(parsed.error().what);
  }
  for (const std::string& line : overrides) {
    if (auto set = spec.set(line, "/"); !set) {
      problems.push_back(set.error().within("--set").what);
    }
  }
  // What is missing or malformed has its default now, which would be blamed for what it is not.
  if (problems.empty()) {
    if (auto finished = finish(draft); !finished) {
      std::istringstream lines(finished.error().what);
      for (std::string line; std::getline(lines, line);) {
        problems.push_back(explained(line, file, spec));
      }
    }
  }
  if (!problems.empty()) {
    return fail(ErrorKind::permanent, "{}", fmt::join(problems, "\n"));
  }
  return std::move(draft.manifest);
}

Digest digest(const Manifest& manifest) {
  return crypto::sha256(fmt::format("{}\n{}", manifest.name, rounds::to_json(manifest.run)));
}

std::string reference() {
  Draft draft;
  ConfigSpec spec("flops.toml");
  bind(spec, draft);
  return spec.reference();
}

std::string skeleton(std::string_view name, std::string_view model, std::string_view data) {
  return fmt::format(R"(# A project for a FLOps Edge fleet.
#   flopsctl project validate .      tells what is wrong, without a coordinator
#   flopsctl project submit .        trains it
#   flopsctl project reference       shows every key

[project]
name = "{}"
description = ""

[model]
builtin = "{}"          # flopsctl project models

[data]
tag = "{}"              # devices with a data set of this tag take part

[training]
rounds = 10
epochs = 1
batch = 32
optimizer = "sgd"
learning_rate = 0.05
loss = "cross_entropy"
seed = 1

# [training.early_stop]
# accuracy = 0.95       # end with the first model that is as good
# patience = 5          # or after so many models without a better one

[participants]
min_fit = 2             # updates that a round needs
fraction = 1.0          # share of the available devices that train

# [resources]
# memory_mb = 512       # devices with less are left out

[timing]
deadline = "10m"        # then a round closes with what there is
)",
                     name, model, data);
}

std::span<const std::string_view> builtin_models() {
  return models;
}

}  // namespace flops::manifest
