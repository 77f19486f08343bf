// flopsctl against the API, over real TLS.
#include <array>
#include <csignal>
#include <fstream>

#include <doctest/doctest.h>
#include <boost/json/parse.hpp>

#include "fake_coordinator.hpp"
#include "flops/tensor/layout.hpp"
#include "flops/tensor/safetensors.hpp"
#include "flops/test/wait.hpp"

namespace flops::cli_test {
namespace {

namespace json = boost::json;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("flopsctl: what the coordinator refuses becomes an exit code and its message") {
  struct Row {
    int status;
    int exit_code;
  };
  FakeCoordinator coordinator;
  for (const Row& row : {Row{400, 1}, Row{401, 4}, Row{403, 4}, Row{404, 3}, Row{409, 1}, Row{500, 1}, Row{503, 5}}) {
    CAPTURE(row.status);
    const std::string run = "run-" + std::to_string(row.status);
    coordinator.answer("GET /v1/runs/" + run, row.status,
                       R"({"error": {"code": "some_code", "message": "because\u001b"}})");
    const Ended ended = coordinator.run({"run", "show", run});
    CHECK(ended.status == row.exit_code);
    CHECK(has(ended.err, "because? (some_code)"));
    CHECK(ended.out.empty());
    const auto requests = coordinator.requests();
    REQUIRE_FALSE(requests.empty());
    CHECK(requests.back().path == "/v1/runs/" + run);
    CHECK(requests.back().bearer == "secret-token");
  }
}

TEST_CASE("flopsctl: an answer that is not a JSON object is refused") {
  for (const char* body : {"", "<html>", "[1]", "{\"a\":", "{} {}"}) {
    CAPTURE(body);
    FakeCoordinator coordinator;
    coordinator.answer("GET /v1/runs", 200, body);
    const Ended ended = coordinator.run({"run", "list"});
    CHECK(ended.status == 1);
    CHECK(has(ended.err, "not a JSON object"));
  }
}

TEST_CASE("flopsctl: a coordinator of another CA is not trusted") {
  FakeCoordinator real;
  FakeCoordinator other;
  std::filesystem::copy_file(other.folder() / "ca.pem", real.folder() / "ca.pem",
                             std::filesystem::copy_options::overwrite_existing);
  const Ended ended = real.run({"run", "list"});
  CHECK(ended.status == 4);
  CHECK(has(ended.err, "not trusted"));
  CHECK(real.requests().empty());
}

TEST_CASE("flopsctl: lists come as a table or as the coordinator's JSON") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/devices", 200, R"({"devices": [{"id": "device-1", "online": true}]})");
  const Ended table = coordinator.run({"device", "list"});
  CHECK(table.status == 0);
  CHECK(has(table.out, "DEVICE"));
  CHECK(has(table.out, "device-1"));
  const Ended as_json = coordinator.run({"device", "list", "-o", "json"});
  CHECK(as_json.status == 0);
  CHECK(json::parse(as_json.out).at("devices").at(0).at("id") == "device-1");
}

TEST_CASE("flopsctl: status shows what is wrong with the coordinator") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/status", 200,
                     R"({"version": "1", "health": [{"name": "storage", "text": "database or disk is full"}]})");
  const Ended ended = coordinator.run({"status"});
  CHECK(ended.status == 0);
  CHECK(has(ended.out, "database or disk is full"));
}

TEST_CASE("flopsctl: token create asks for what was said and prints the token alone") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/tokens", 201,
                     R"({"token": "flops1.abc", "uses": 5, "expires_at": "2026-11-24T12:00:00Z"})");
  const Ended ended = coordinator.run({"token", "create", "--uses", "5", "--expires", "2h", "--note", "shelf 3"});
  CHECK(ended.status == 0);
  CHECK(ended.out == "flops1.abc\n");
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 1);
  CHECK(
      json::parse(requests[0].body) ==
      json::parse(
          R"({"uses": 5, "expires_seconds": 7200, "note": "shelf 3", "role": "device", "approve": false, "device": ""})"));
}

TEST_CASE("flopsctl: token create --site asks for one that sites enrol with") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/tokens", 201, R"({"token": "flops1.abc", "role": "cluster", "uses": 1})");
  CHECK(coordinator.run({"token", "create", "--site"}).out == "flops1.abc\n");
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 1);
  CHECK(json::parse(requests[0].body).at("role") == "cluster");
}

TEST_CASE("flopsctl: run start sends only the fields that were given") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/runs", 201, R"({"id": "run-7", "state": "waiting"})");
  CHECK(coordinator.run({"run", "start", "--model", "softmax", "--data", "digits"}).status == 0);
  CHECK(coordinator
            .run({"run",
                  "start",
                  "--model",
                  "softmax",
                  "--data",
                  "digits",
                  "--rounds",
                  "3",
                  "--seed",
                  "9",
                  "--min-fit",
                  "4",
                  "--min-available",
                  "6",
                  "--fraction",
                  "0.5",
                  "--deadline",
                  "60",
                  "--epochs",
                  "2",
                  "--batch",
                  "16",
                  "--lr",
                  "0.1",
                  "--momentum",
                  "0.9",
                  "--weight-decay",
                  "0.001",
                  "--optimizer",
                  "adam",
                  "--loss",
                  "mse",
                  "--no-evaluate",
                  "--mode",
                  "async",
                  "--buffer",
                  "5",
                  "--max-staleness",
                  "7",
                  "--over-select",
                  "0.25"})
            .status == 0);
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 2);
  CHECK(json::parse(requests[0].body) == json::parse(R"({"model": "softmax", "data": "digits"})"));
  CHECK(json::parse(requests[1].body) ==
        json::parse(R"({"model": "softmax", "data": "digits", "rounds": 3, "seed": 9, "min_fit": 4, "min_available": 6,
          "fraction": 0.5, "over_select": 0.25, "mode": "async", "buffer": 5, "max_staleness": 7, "deadline_seconds": 60, "evaluate": false, "training": {"epochs": 2, "batch": 16,
          "optimizer": "adam", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.001, "loss": "mse"}})"));
}

TEST_CASE("flopsctl: run start names an algorithm, with the constants that were given") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/runs", 201, R"({"id": "run-2", "state": "waiting"})");
  const auto start = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"run", "start", "--model", "softmax", "--data", "digits"});
    return coordinator.run(options).status;
  };
  CHECK(start({"--algorithm", "fedadam", "--server-lr", "0.02", "--server-momentum", "0.8", "--second-momentum", "0.9",
               "--adaptivity", "0.01", "--candidates", "7"}) == 0);
  CHECK(start({"--algorithm", "fedprox", "--mu", "0.5"}) == 0);
  CHECK(start({"--mu", "0.5"}) == 2);
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 2);
  CHECK(json::parse(requests[0].body).at("algorithm") ==
        json::parse(R"({"name": "fedadam", "server_learning_rate": 0.02, "momentum": 0.8, "second_momentum": 0.9,
                        "adaptivity": 0.01})"));
  CHECK(json::parse(requests[0].body).at("candidates") == 7);
  CHECK(json::parse(requests[1].body).at("algorithm") == json::parse(R"({"name": "fedprox", "proximal": 0.5})"));
}

TEST_CASE("flopsctl: run start describes clusters and cycles, and cluster list and show ask for them") {
  FakeCoordinator coordinator;
  coordinator.answer("POST /v1/runs", 201, R"({"id": "run-2", "state": "waiting"})");
  coordinator.answer("GET /v1/clusters", 200, R"({"run": "run-2", "clusters": [{"cluster": "north"}]})");
  coordinator.answer("GET /v1/clusters/north", 200, R"({"cluster": "north", "run": "run-2"})");
  const std::vector<std::string> start{"run", "start", "--model", "softmax", "--data", "digits"};
  const auto with = [&](std::vector<std::string> options) {
    options.insert(options.begin(), start.begin(), start.end());
    return coordinator.run(options).status;
  };
  CHECK(with({"--cycles",
              "3",
              "--rounds",
              "2",
              "--clusters",
              "label:site",
              "--global-min-fit",
              "2",
              "--global-min-available",
              "3",
              "--global-fraction",
              "0.5",
              "--global-max-staleness",
              "1",
              "--global-deadline",
              "99",
              "--global-algorithm",
              "fedyogi",
              "--global-server-lr",
              "0.1"}) == 0);
  CHECK(with({"--global-min-fit", "2"}) == 2);
  CHECK(with({"--clusters", "sites", "--global-min-fit", "2"}) == 0);
  CHECK(json::parse(coordinator.requests().at(1).body) ==
        json::parse(R"({"model": "softmax", "data": "digits", "clusters": "sites", "global": {"min_fit": 2}})"));
  CHECK(json::parse(coordinator.requests().at(0).body) ==
        json::parse(R"({"model": "softmax", "data": "digits", "cycles": 3, "rounds": 2, "clusters": "label:site",
          "global": {"min_fit": 2, "min_available": 3, "fraction": 0.5, "max_staleness": 1, "deadline_seconds": 99,
                     "algorithm": {"name": "fedyogi", "server_learning_rate": 0.1}}})"));
  CHECK(coordinator.run({"cluster", "list"}).out.find("north") != std::string::npos);
  CHECK(coordinator.run({"cluster", "show", "north"}).out.find("run-2") != std::string::npos);
}

const std::string digest_text(64, 'a');

std::string run_json(int revision, const std::string& state, const std::string& rounds) {
  return R"({"id": "run-1", "revision": )" + std::to_string(revision) + R"(, "state": ")" + state +
         R"(", "reason": "no devices", "accuracy": 0.9, "model_digest": ")" + digest_text + R"(", "rounds": [)" +
         rounds + "]}";
}
std::string round_json(int round, const std::string& state, const std::string& accuracy) {
  return R"({"round": )" + std::to_string(round) + R"(, "state": ")" + state + R"(", "accuracy": )" + accuracy +
         R"(, "participants": 5, "model_digest": ")" + digest_text + R"("})";
}
// Header and rows: everything but the line about the end.
std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    out.push_back(text.substr(begin, end - begin));
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return out;
}

void answer_with_two_rounds(FakeCoordinator& coordinator, const std::string& last_state) {
  const std::string first = round_json(1, "done", "0.5");
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(1, "waiting", ""));
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(2, "running", round_json(1, "aggregated", "0.4")));
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(3, "running", first));
  coordinator.answer("GET /v1/runs/run-1", 200,
                     run_json(4, "running", first + "," + round_json(2, "aggregated", "null")));
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(5, last_state, first + "," + round_json(2, "done", "0.9")));
}

TEST_CASE("flopsctl: run watch prints each round once and exits with 0 when the run finished") {
  FakeCoordinator coordinator;
  answer_with_two_rounds(coordinator, "finished");
  const Ended ended = coordinator.run({"run", "watch", "run-1"});
  CHECK(ended.status == 0);
  const auto shown = lines(ended.out);
  REQUIRE(shown.size() == 4);
  CHECK(has(shown[0], "ACCURACY"));
  CHECK(has(shown[1], "    1    0.5000"));
  CHECK(has(shown[2], "    2    0.9000"));
  CHECK(has(shown[3], "run run-1 finished: accuracy 0.9000, model " + digest_text));
  CHECK_FALSE(has(ended.out + ended.err, "\x1b"));
  const auto requests = coordinator.requests();
  REQUIRE(requests.size() == 5);
  CHECK(requests[0].query.empty());
  CHECK(requests[1].query.at("after") == "1");
  CHECK(requests[4].query.at("after") == "4");
  CHECK(std::stoi(requests[4].query.at("wait")) <= 30);
}

TEST_CASE("flopsctl: run watch exits with 6 when the run failed or was stopped") {
  for (const char* state : {"failed", "stopped"}) {
    CAPTURE(state);
    FakeCoordinator coordinator;
    answer_with_two_rounds(coordinator, state);
    const Ended ended = coordinator.run({"run", "watch", "run-1"});
    CHECK(ended.status == 6);
    CHECK(lines(ended.out).size() == 3);
    CHECK(has(ended.err, std::string(state) + ": no devices"));
  }
}

TEST_CASE("flopsctl: run watch in JSON writes one document a line, the run last") {
  FakeCoordinator coordinator;
  answer_with_two_rounds(coordinator, "finished");
  const Ended ended = coordinator.run({"run", "watch", "run-1", "-o", "json"});
  CHECK(ended.status == 0);
  const auto shown = lines(ended.out);
  REQUIRE(shown.size() == 3);
  CHECK(json::parse(shown[0]).at("round") == 1);
  CHECK(json::parse(shown[1]).at("round") == 2);
  CHECK(json::parse(shown[2]).at("state") == "finished");
}

TEST_CASE("flopsctl: run watch waits for a coordinator that is not ready for a moment") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(1, "running", ""));
  coordinator.answer("GET /v1/runs/run-1", 503, R"({"error": {"code": "not_ready", "message": "broker"}})");
  coordinator.answer("GET /v1/runs/run-1", 503, R"({"error": {"code": "not_ready", "message": "broker"}})");
  coordinator.answer("GET /v1/runs/run-1", 200, run_json(2, "finished", ""));
  const Ended ended = coordinator.run({"run", "watch", "run-1"});
  CHECK(ended.status == 0);
  CHECK(has(ended.err, "trying again"));
  CHECK(lines(ended.err).size() == 1);
}

TEST_CASE("flopsctl: signals end it at once, also while it waits for an answer") {
  struct Row {
    int signal;
    int status;
  };
  for (const Row& row : {Row{SIGINT, 130}, Row{SIGTERM, 143}}) {
    CAPTURE(row.signal);
    FakeCoordinator coordinator;
    coordinator.answer("GET /v1/runs/run-1", 200, run_json(1, "running", round_json(1, "done", "0.5")));
    coordinator.answer("GET /v1/runs/run-1", 0, "");
    Program program(coordinator.arguments({"run", "watch", "run-1"}));
    REQUIRE(test::wait_until([&] { return coordinator.requests().size() == 2; }));
    program.signal(row.signal);
    const Ended ended = program.wait();
    CHECK(ended.status == row.status);
    CHECK(lines(ended.out).size() == 2);
    CHECK(ended.err.empty());
  }
}

struct Model {
  std::filesystem::path file;
  Digest digest;
};
Model write_model(const std::filesystem::path& file, float first) {
  const auto layout =
      tensor::Layout::create({tensor::TensorSpec{"fc.weight", {2, 2}}, tensor::TensorSpec{"fc.bias", {2}}});
  REQUIRE(layout);
  const std::array<float, 6> values{first, 2, 3, 4, 5, 6};
  REQUIRE(tensor::write_safetensors(file, *layout, {}, tensor::from_memory(values)));
  const auto digest = tensor::model_digest(*layout, tensor::from_memory(values));
  REQUIRE(digest);
  return {file, *digest};
}

std::string models_json(const Model& model) {
  return R"({"models": [{"digest": ")" + model.digest.hex() + R"("}]})";
}

TEST_CASE("flopsctl: model get fetches by run, by digest and by the digest's first digits") {
  FakeCoordinator coordinator;
  const Model model = write_model(coordinator.folder() / "stored", 1);
  coordinator.answer("GET /v1/models", 200, models_json(model));
  coordinator.answer("GET /v1/runs/run-1", 200, R"({"model_digest": ")" + model.digest.hex() + R"("})");
  coordinator.answer_file("GET /v1/models/" + model.digest.hex(), model.file);
  for (const std::string& what : {std::string("run-1"), model.digest.hex(), model.digest.short_hex()}) {
    CAPTURE(what);
    const auto file = coordinator.folder() / "out" / "model.safetensors";
    std::filesystem::create_directories(file.parent_path());
    const Ended ended = coordinator.run({"model", "get", what, "--output", file.string(), "-o", "json"});
    CHECK(ended.status == 0);
    CHECK(json::parse(ended.out).at("digest").as_string() == model.digest.hex());
    CHECK(json::parse(ended.out).at("path").as_string() == file.string());
    CHECK(std::filesystem::file_size(file) == std::filesystem::file_size(model.file));
    // No unfinished work stays beside it.
    CHECK(std::distance(std::filesystem::directory_iterator(file.parent_path()), {}) == 1);
    std::filesystem::remove_all(file.parent_path());
  }
}

TEST_CASE("flopsctl: model get --best fetches a run's best model") {
  FakeCoordinator coordinator;
  const Model last = write_model(coordinator.folder() / "last", 1);
  const Model best = write_model(coordinator.folder() / "best", 2);
  coordinator.answer(
      "GET /v1/runs/run-1", 200,
      R"({"model_digest": ")" + last.digest.hex() + R"(", "best": {"model_digest": ")" + best.digest.hex() + R"("}})");
  coordinator.answer("GET /v1/runs/run-2", 200, R"({"model_digest": ")" + last.digest.hex() + R"(", "best": null})");
  coordinator.answer_file("GET /v1/models/" + best.digest.hex(), best.file);
  const std::string file = (coordinator.folder() / "model").string();
  const Ended ended = coordinator.run({"model", "get", "run-1", "--best", "--output", file, "-o", "json"});
  CHECK(ended.status == 0);
  CHECK(json::parse(ended.out).at("digest").as_string() == best.digest.hex());
  const Ended none_yet = coordinator.run({"model", "get", "run-2", "--best", "--output", file});
  CHECK(none_yet.status == 3);
  CHECK(has(none_yet.err, "has no measured model yet"));
}

TEST_CASE("flopsctl: a model that is not the one asked for is not written") {
  FakeCoordinator coordinator;
  const Model wanted = write_model(coordinator.folder() / "wanted", 1);
  const Model other = write_model(coordinator.folder() / "other", 7);
  std::filesystem::create_directory(coordinator.folder() / "out");
  const auto file = coordinator.folder() / "out" / "model.safetensors";
  coordinator.answer("GET /v1/models", 200, models_json(wanted));
  SUBCASE("another model") {
    coordinator.answer_file("GET /v1/models/" + wanted.digest.hex(), other.file);
  }
  SUBCASE("damaged") {
    std::ofstream(coordinator.folder() / "damaged") << "no model";
    coordinator.answer_file("GET /v1/models/" + wanted.digest.hex(), coordinator.folder() / "damaged");
  }
  const Ended ended = coordinator.run({"model", "get", wanted.digest.hex(), "--output", file.string()});
  CHECK(ended.status == 1);
  CHECK(has(ended.err, "the model that came is"));
  CHECK(std::filesystem::is_empty(coordinator.folder() / "out"));
}

TEST_CASE("flopsctl: a model that does not exist exits with 3") {
  FakeCoordinator coordinator;
  coordinator.answer("GET /v1/models", 200, R"({"models": []})");
  coordinator.answer("GET /v1/runs/run-2", 200, R"({"id": "run-2", "model_digest": null})");
  const std::string file = (coordinator.folder() / "model").string();
  CHECK(coordinator.run({"model", "get", std::string(64, 'a'), "--output", file}).status == 3);
  CHECK(coordinator.run({"model", "get", "abcdef012345", "--output", file}).status == 3);
  CHECK(coordinator.run({"model", "get", "run-1", "--output", file}).status == 3);
  const Ended none_yet = coordinator.run({"model", "get", "run-2", "--output", file});
  CHECK(none_yet.status == 3);
  CHECK(has(none_yet.err, "has no model yet"));
}

}  // namespace
}  // namespace flops::cli_test
