// flopsctl project: manifests without a coordinator, submissions with one.
#include <cstdlib>
#include <fstream>

#include <doctest/doctest.h>
#include <boost/json/parse.hpp>

#include "fake_coordinator.hpp"
#include "flops/core/file.hpp"

namespace flops::cli_test {
namespace {

namespace json = boost::json;

void git(const std::filesystem::path& folder, const std::string& arguments) {
  const std::string command =
      "git -C '" + folder.string() + "' -c user.name=T -c user.email=t@example.org " + arguments;
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace

TEST_CASE("flopsctl: project init writes a project that validate accepts, and never over another") {
  const test::TemporaryFolder folder;
  const std::string place = (folder / "My Project").string();
  const Ended made = run({"project", "init", place, "--model", "cnn-small", "--data", "photos"});
  CHECK(made.status == 0);
  CHECK(made.out.contains("project validate"));
  const Ended valid = run({"project", "validate", place});
  CHECK(valid.status == 0);
  CHECK(valid.out.contains("my-project"));
  CHECK(valid.out.contains("cnn-small"));
  const Ended as_json = run({"project", "validate", place, "--set", "training.rounds=20", "-o", "json"});
  REQUIRE(as_json.status == 0);
  CHECK(json::parse(as_json.out).at("spec").at("rounds").as_int64() == 20);
  CHECK(json::parse(as_json.out).at("spec").at("data").as_string() == "photos");

  const std::string before = read_file(folder / "My Project/flops.toml").value();
  const Ended again = run({"project", "init", place});
  CHECK(again.status == 1);
  CHECK(again.err.contains("is there already"));
  CHECK(read_file(folder / "My Project/flops.toml").value() == before);
  const Ended wrong = run({"project", "init", (folder / "other").string(), "--model", "resnet"});
  CHECK(wrong.status == 2);
  CHECK(wrong.err.contains("there is no model 'resnet'"));
  CHECK_FALSE(std::filesystem::exists(folder / "other"));
}

TEST_CASE("flopsctl: project validate tells everything that is wrong, with file and line") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "flops.toml") << "[project]\nname = \"p\"\n[training]\nroundz = 5\nepochs = 0\n";
  const Ended ended = run({"project", "validate", folder.path().string(), "--set", "participants.min_fit=many"});
  CHECK(ended.status == 1);
  for (const char* part : {"flops.toml:4: unknown key 'training.roundz'; did you mean 'training.rounds'?",
                           "flops.toml:5: 'training.epochs'", "'model.builtin' is missing", "'data.tag' is missing",
                           "--set: 'participants.min_fit=many'"}) {
    CHECK_MESSAGE(ended.err.contains(part), ended.err);
  }
  CHECK(ended.err.contains((folder / "flops.toml").string() + ":4"));
  CHECK(run({"project", "validate", (folder / "none").string()}).status == 3);
  std::filesystem::create_directory(folder / "empty");
  const Ended empty = run({"project", "validate", (folder / "empty").string()});
  CHECK(empty.status == 1);
  CHECK(empty.err.contains("project init"));
  std::filesystem::create_symlink("/etc/passwd", folder / "empty/flops.toml");
  CHECK(run({"project", "validate", (folder / "empty").string()}).err.contains("links are not followed"));
}

TEST_CASE("flopsctl: project models and reference need nothing") {
  CHECK(run({"project", "models"}).out.contains("cnn-small\n"));
  CHECK(json::parse(run({"project", "models", "-o", "json"}).out).at("models").as_array().size() > 4);
  const Ended reference = run({"project", "reference"});
  CHECK(reference.status == 0);
  CHECK(reference.out.contains("[training.early_stop]"));
}

TEST_CASE("flopsctl: project submit sends the manifest of a folder or of a commit, and nothing that is wrong") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/projects", 201, R"({"id":"run-1","state":"waiting"})");
  const std::filesystem::path folder = coordinator.folder() / "project";
  REQUIRE(run({"project", "init", folder.string(), "--name", "p"}).status == 0);
  const Ended ended = coordinator.run({"project", "submit", folder.string(), "--set", "training.rounds=3"});
  CHECK_MESSAGE(ended.status == 0, ended.err);
  CHECK(ended.out == "project p: run run-1 started\n");
  const auto sent = json::parse(coordinator.requests().back().body);
  CHECK(sent.at("manifest").as_string() == read_file(folder / "flops.toml").value());
  CHECK(sent.at("settings") == json::array{"training.rounds=3"});
  CHECK(sent.at("source").at("place").as_string() == folder.string());
  CHECK(sent.at("source").at("commit").as_string() == "");

  git(folder, "init -q -b main .");
  git(folder, "add .");
  git(folder, "commit -q -m one");
  std::ofstream(folder / "flops.toml") << "broken";
  const Ended of_commit = coordinator.run({"project", "submit", "file://" + folder.string()});
  CHECK_MESSAGE(of_commit.status == 0, of_commit.err);
  const auto committed = json::parse(coordinator.requests().back().body);
  CHECK(committed.at("manifest") == sent.at("manifest"));
  CHECK(committed.at("source").at("commit").as_string().size() == 40);
  CHECK(coordinator.run({"project", "submit", folder.string(), "--ref", "main"}).status == 0);
  CHECK(json::parse(coordinator.requests().back().body).at("source").at("commit") ==
        committed.at("source").at("commit"));

  const std::size_t requests = coordinator.requests().size();
  const Ended broken = coordinator.run({"project", "submit", folder.string()});
  CHECK(broken.status == 1);
  CHECK(broken.err.contains("flops.toml:1"));
  CHECK(coordinator.run({"project", "submit", folder.string(), "--ref", "none"}).status == 1);
  CHECK(coordinator.requests().size() == requests);
  // What was fetched is gone again.
  const test::TemporaryFolder scratch;
  const auto arguments = coordinator.arguments({"project", "submit", "file://" + folder.string()});
  CHECK(cli_test::run(arguments, {{"TMPDIR", scratch.path().string()}}).status == 0);
  CHECK(std::filesystem::is_empty(scratch.path()));
}

TEST_CASE("flopsctl: projects are listed, shown, changed and followed") {
  FakeCoordinator coordinator;
  const std::string project =
      R"({"name":"p","owner":"ada","description":"d\u001b","tags":["x","y"],"created_at":"2026-11-01T00:00:00Z",
          "runs":[{"id":"run-2","state":"paused","round":1,"rounds_total":3,"commit":"0123456789abcdef"},{"id":"run-1"}]})";
  coordinator.answer("GET /v1/projects", 200, R"({"projects":[)" + project + "]}");
  coordinator.answer("GET /v1/projects/p", 200, project);
  for (const char* verb : {"stop", "pause", "resume"}) {
    coordinator.answer(std::string("POST /v1/projects/p/") + verb, 200, project);
    const Ended ended = coordinator.run({"project", verb, "p"});
    CHECK(ended.status == 0);
    CHECK(coordinator.requests().back().path == std::string("/v1/projects/p/") + verb);
    CHECK(ended.out.contains("paused"));
  }
  const Ended list = coordinator.run({"project", "list"});
  CHECK(list.out.contains("run-2"));
  CHECK(list.out.contains("1/3"));
  CHECK_FALSE(list.out.contains('\x1b'));
  const Ended shown = coordinator.run({"project", "show", "p"});
  CHECK(shown.out.contains("x, y"));
  CHECK(shown.out.contains("0123456789ab "));
  coordinator.answer("GET /v1/runs/run-2", 200, R"({"id":"run-2","revision":1,"state":"finished","rounds":[]})");
  CHECK(coordinator.run({"project", "watch", "p"}).status == 0);
  coordinator.answer("DELETE /v1/projects/p", 204, "");
  CHECK(coordinator.run({"project", "delete", "p"}).status == 0);
  CHECK(coordinator.run({"project", "show", "../p"}).status == 2);
  CHECK(coordinator.run({"project", "stop", "a/b"}).status == 2);
}

}  // namespace flops::cli_test
