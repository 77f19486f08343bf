#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace flops;
using namespace flops::test;

TEST_CASE("project: what is not said has its default, and depends on what is") {
  const TemporaryFolder folder;
  const auto project = project_of(folder);
  CHECK(project.run.min_available == 3);
  CHECK(project.run.max_staleness == 0);
  CHECK(project.data == folder / "set");
  const auto async = project_of(folder, {"run.mode = async"});
  CHECK(async.run.buffer == 3);
  CHECK(async.run.max_staleness == rounds::async_max_staleness);
}

TEST_CASE("project: a later value replaces an earlier one; text needs no quotes") {
  const TemporaryFolder folder;
  const auto project =
      project_of(folder, {"run.rounds=9", "data.partition=dirichlet:0.3", "training.optimizer = \"adam\""});
  CHECK(project.run.rounds == 9);
  CHECK(project.partition == "dirichlet:0.3");
  CHECK(project.run.training.optimizer == "adam");
  CHECK(project_of(folder, {"data.folder = set/../set"}).data == folder / "set/../set");
}

TEST_CASE("project: everything that is wrong is said, with its place") {
  const TemporaryFolder folder;
  project_of(folder);
  struct Row {
    const char* name;
    std::string toml;
    std::vector<std::string> overrides;
    const char* message;
  };
  const std::string good = "[run]\nmodel = \"softmax\"\n[data]\nfolder = \"set\"\n";
  for (const Row& row : {
           Row{"no model", "[data]\nfolder = \"set\"\n", {}, "run.model"},
           Row{"no data", "[run]\nmodel = \"softmax\"\n", {}, "data.folder and data.parts"},
           Row{"two kinds of data", good + "parts = \"set\"\n", {}, "data.folder and data.parts"},
           Row{"unknown key", good + "clusters = 3\n", {}, "project.toml:5"},
           Row{"wrong type", good + "learners = \"many\"\n", {}, "project.toml:5"},
           Row{"out of range", good, {"devices.dropout = 2"}, "out of range"},
           Row{"unknown override", good, {"devices.colour = red"}, "devices.colour"},
           Row{"no override", good, {"run.rounds"}, "key=value"},
           Row{"rules of runs", good, {"run.min_fit = 5", "run.min_available = 2"}, "min_available"},
           Row{"hostile text", good, {"run.model = a\"b"}, "run.model"},
       }) {
    CAPTURE(row.name);
    write_bytes(folder / "project.toml", row.toml);
    const auto project = sim::Project::load(folder / "project.toml", row.overrides);
    REQUIRE_FALSE(project);
    CHECK_MESSAGE(project.error().what.contains(row.message), project.error().what);
  }
  CHECK_FALSE(sim::Project::load(folder / "nothing.toml", {}));
}

TEST_CASE("project: the reference names every key with its default, and is a project but for its data") {
  const TemporaryFolder folder;
  const std::string reference = sim::Project::reference();
  for (const char* key :
       {"partition = \"iid\"", "samples_per_second = 1000", "target_accuracy = 0", "over_select = 0"}) {
    CHECK(reference.contains(key));
  }
  write_bytes(folder / "project.toml", reference);
  const auto project = sim::Project::load(folder / "project.toml", {"run.model = softmax", "data.folder = set"});
  CHECK_MESSAGE(project, (project ? "" : project.error().what));
}
