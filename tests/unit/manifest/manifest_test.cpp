#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "flops/core/file.hpp"
#include "flops/manifest/manifest.hpp"

using namespace flops;
using namespace flops::manifest;

namespace {

const std::string least = "[project]\nname = \"p\"\n[model]\nbuiltin = \"softmax\"\n[data]\ntag = \"d\"\n";

Manifest good(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  auto manifest = parse(toml, "flops.toml", overrides);
  REQUIRE_MESSAGE(manifest, (manifest ? "" : manifest.error().what));
  return *std::move(manifest);
}

std::string problems_of(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  const auto manifest = parse(toml, "flops.toml", overrides);
  return manifest ? std::string() : manifest.error().what;
}

}  // namespace

TEST_CASE("manifest: what is not said has the defaults of a run") {
  const Manifest manifest = good(least);
  CHECK(manifest.name == "p");
  rounds::RunSpec expected;
  expected.model = "softmax";
  expected.data = "d";
  CHECK(manifest.run == expected);
  CHECK(rounds::parse_run_spec(rounds::to_json(manifest.run)).value() == expected);
}

TEST_CASE("manifest: every key arrives in the run") {
  const Manifest manifest = good(least + R"(
[training]
rounds = 7
cycles = 3
epochs = 2
batch = 16
learning_rate = 0.2
momentum = 0.5
weight_decay = 0.01
loss = "mse"
seed = 9
best_by = "loss"
[training.schedule]
decay = "cosine"
warmup = 2
floor = 0.001
[training.early_stop]
accuracy = 0.9
loss = 0.1
patience = 4
min_change = 0.01
[algorithm]
name = "fedprox"
proximal = 0.3
[clusters]
by = "label:site"
[global]
min_fit = 2
fraction = 0.5
max_staleness = 1
deadline = "2h"
[global.algorithm]
name = "fedavgm"
momentum = 0.8
[participants]
min_fit = 3
min_evaluate = 2
fraction = 0.5
over_select = 0.25
candidates = 8
labels = { floor = "2" }
[resources]
memory_mb = 512
cores = 2
storage_mb = 64
architecture = ["aarch64", "x86_64"]
accelerator = true
[timing]
deadline = "5m"
max_staleness = 2
)");
  const rounds::RunSpec& run = manifest.run;
  CHECK(run.rounds == 7);
  CHECK(run.cycles == 3);
  CHECK(run.seed == 9);
  CHECK(run.best_by == "loss");
  CHECK(run.training ==
        wire::TrainingSpec{
            .epochs = 2, .batch = 16, .learning_rate = 0.2, .momentum = 0.5, .weight_decay = 0.01, .loss = "mse"});
  CHECK(run.schedule == rounds::Schedule{.decay = rounds::Decay::cosine, .warmup = 2, .floor = 0.001});
  CHECK(run.goal == rounds::Goal{0.9, 0.1, 4, 0.01, 2});
  CHECK(run.algorithm.name == "fedprox");
  CHECK(run.algorithm.proximal == 0.3);
  CHECK(run.clusters.label == "site");
  CHECK(run.global.min_fit == 2);
  CHECK(run.global.min_available == 2);
  CHECK(run.global.deadline_seconds == 7200);
  CHECK(run.global.algorithm.momentum == 0.8);
  CHECK(run.min_fit == 3);
  CHECK(run.min_available == 3);
  CHECK(run.candidates == 8);
  CHECK(run.requirements == rounds::Requirements{512, 2, 64, {"aarch64", "x86_64"}, true, {{"floor", "2"}}});
  CHECK(run.deadline_seconds == 300);
  CHECK(run.max_staleness == 2);
  CHECK(rounds::parse_run_spec(rounds::to_json(run)).value() == run);

  const Manifest async = good(least + "[participants]\nmode = \"async\"\nmin_fit = 2\nbuffer = 4\n");
  CHECK(async.run.buffer == 4);
  CHECK(async.run.min_available == 4);
  CHECK(async.run.max_staleness == 10);
}

TEST_CASE("manifest: everything that is wrong is said at once, with its line") {
  const std::string problems = problems_of(
      "[project]\nname = \"No Name\"\ntags = [\"\"]\n[model]\nbuiltin = \"resnet\"\n[training]\nrounds = 0\n"
      "lr = 0.1\n[training.schedule]\ndecay = \"linear\"\n[resources]\nmemory_mb = \"1G\"\n[quantum]\n");
  for (const char* expected :
       {"flops.toml: 'data.tag' is missing", "flops.toml:2: 'project.name': names have a-z",
        "flops.toml:3: 'project.tags'",
        "flops.toml:5: 'model.builtin': there is no model 'resnet'; there are 2nn, cnn-mcmahan,",
        "flops.toml:7: 'training.rounds': 0", "flops.toml:8: unknown key 'training.lr'",
        "flops.toml:10: 'training.schedule.decay'", "flops.toml:12: 'resources.memory_mb': expected",
        "flops.toml:13: unknown key 'quantum'"}) {
    CHECK_MESSAGE(problems.contains(expected), expected << "\nin:\n" << problems);
  }

  // What each key may have, but not together.
  struct Row {
    const char* toml;
    const char* problem;
  };
  for (const Row& row : {
           Row{"[participants]\nmin_fit = 5\nmin_available = 2\n",
               "flops.toml:9: 'participants.min_available': must not be smaller"},
           Row{"[participants]\nbuffer = 2\n", "flops.toml:8: 'participants.buffer': only for mode async"},
           Row{"[participants]\nmode = \"async\"\nfraction = 0.5\n",
               "flops.toml:9: 'participants.fraction': only for mode sync"},
           Row{"[training]\noptimizer = \"adam\"\nmomentum = 0.9\n", "flops.toml:9: 'training.momentum': only for sgd"},
           Row{"[training]\nevaluate = false\n[training.early_stop]\npatience = 3\n",
               "flops.toml:9: 'training.early_stop': needs models"},
           Row{"[training.early_stop]\nmin_change = 0.1\n", "flops.toml:7: 'training.early_stop': names no goal"},
           Row{"[training]\nrounds = 3\n[training.schedule]\nwarmup = 3\n",
               "flops.toml:10: 'training.schedule.warmup': must be less"},
           Row{"[global]\nmin_fit = 2\n", "flops.toml:7: 'global': only for a run with clusters"},
           Row{"[clusters]\nby = \"color\"\n", "flops.toml:8: 'clusters.by':"},
           Row{"[clusters]\nby = \"hash:2\"\n[global]\nmin_fit = 3\nmin_available = 2\n",
               "flops.toml:11: 'global.min_available': must not"},
           Row{"[algorithm]\nproximal = 0.5\n", "flops.toml:7: 'algorithm':"},
           Row{"[algorithm]\nname = \"scaffold\"\n[training]\noptimizer = \"adam\"\n",
               "flops.toml:7: 'algorithm': scaffold and fednova"},
       }) {
    CAPTURE(row.toml);
    const std::string said = problems_of(least + row.toml);
    CHECK_MESSAGE(said.contains(row.problem), said);
  }
}

TEST_CASE("manifest: hostile bytes are refused") {
  CHECK(problems_of(least + std::string(max_bytes, '#')).contains("at most 65536"));
  CHECK(problems_of("\xff\xfe[project]").contains("flops.toml"));
  CHECK(problems_of("a = " + std::string(20'000, '[')).contains("flops.toml"));
  CHECK(problems_of(std::string(least) + '\0').contains("flops.toml"));
  CHECK(problems_of("[project]\nname = \"p\"\nname = \"q\"\n").contains("flops.toml:3"));
  CHECK(problems_of("project = 5\nmodel = []\ndata = \"x\"\n").contains("flops.toml:1"));
  CHECK(problems_of("[project]\nname = \"p\\u0000\"\n").contains("names have"));
  CHECK(problems_of("[project]\ntags = [\"a\\nb\"]\n").contains("expected one line"));
}

TEST_CASE("manifest: settings from the command line win, and are checked like the file") {
  const Manifest manifest =
      good(least, {"training.rounds = 20", "data.tag=other/tag", "resources.architecture = [\"aarch64\"]"});
  CHECK(manifest.run.rounds == 20);
  CHECK(manifest.run.data == "other/tag");
  CHECK(manifest.run.requirements.architecture == std::set<std::string>{"aarch64"});
  const std::string problems = problems_of(least, {"training.rounds = many", "training.speed = 1"});
  CHECK(problems.contains("--set: 'training.rounds = many'"));
  CHECK(problems.contains("unknown key 'training.speed'"));
  // A line of the file is not blamed for what the command line says.
  CHECK(problems_of(least + "[participants]\nmin_available = 9\n",
                    {"participants.min_fit = 5", "participants.min_available = 2"})
            .starts_with("flops.toml: 'participants.min_available'"));
}

TEST_CASE("manifest: the digest is of what is trained, not of how it is written") {
  const Manifest manifest = good(least);
  CHECK(digest(manifest) == digest(good("# words\n" + least + "[training]\nrounds = 5\n")));
  CHECK(digest(manifest) ==
        digest(good("[project]\ndescription = \"d\"\nname = \"p\"\n" + least.substr(least.find("[model]")))));
  CHECK(digest(manifest) != digest(good(least, {"training.rounds = 6"})));
  CHECK(digest(manifest) != digest(good(least, {"project.name = q"})));
}

TEST_CASE("manifest: the skeleton is one, and the documentation has every key of the reference") {
  const Manifest manifest = good(skeleton("my-project", "cnn-small", "photos"));
  CHECK(manifest.name == "my-project");
  CHECK(manifest.run.model == "cnn-small");
  CHECK(manifest.run.data == "photos");
  CHECK(manifest.run.rounds == 10);

  const auto documentation = read_file(std::filesystem::path(std::getenv("FLOPS_SOURCE")) / "docs/manifest.md");
  REQUIRE_MESSAGE(documentation, (documentation ? "" : documentation.error().what));
  std::istringstream lines(reference());
  std::string section;
  int keys = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[")) {
      section = line.substr(1, line.find(']') - 1);
    } else if (line.starts_with("# [")) {
      ++keys;
      const std::string table = line.substr(3, line.find(']') - 3);
      CHECK_MESSAGE(documentation->contains("`" + table + "`"), table);
    } else if (const std::size_t equals = line.find(" = "); equals != std::string::npos) {
      ++keys;
      std::string key = line.substr(0, equals);
      key = key.substr(key.rfind(' ') == std::string::npos ? 0 : key.rfind(' ') + 1);
      const std::string row = "| `" + section + "." + key + "` |";
      CHECK_MESSAGE(documentation->contains(row), row);
    }
  }
  CHECK(keys > 50);

  std::string filled = reference();
  for (const auto& [key, value] : {std::pair{"name", "p"}, std::pair{"builtin", "softmax"}, std::pair{"tag", "d"}}) {
    const std::string before = fmt::format("# (required) {} = \"\"", key);
    REQUIRE(filled.contains(before));
    filled.replace(filled.find(before), before.size(), fmt::format("{} = \"{}\"", key, value));
  }
  CHECK(good(filled) == good(least));
}

TEST_CASE("manifest: the examples are projects") {
  int examples = 0;
  for (const auto& folder :
       std::filesystem::directory_iterator(std::filesystem::path(std::getenv("FLOPS_SOURCE")) / "examples")) {
    if (folder.is_directory()) {
      CHECK(good(read_file(folder.path() / "flops.toml").value()).name == folder.path().filename());
      ++examples;
    }
  }
  CHECK(examples > 0);
}
