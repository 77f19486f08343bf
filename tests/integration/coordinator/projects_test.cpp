// Projects: submitted, paused and resumed, and by whom; with the real coordinator and its real broker.
#include <doctest/doctest.h>

#include "device.hpp"

using namespace flops;
using namespace flops::test;

namespace {

namespace json = boost::json;

std::string manifest(const std::string& name, const std::string& more = {}) {
  return "[project]\nname = \"" + name +
         "\"\ndescription = \"What for\"\ntags = [\"a\", \"b c\"]\n[model]\nbuiltin = \"softmax\"\n[data]\ntag = "
         "\"digits\"\n[training]\nrounds = 2\nevaluate = false\n[participants]\nmin_fit = 1\n" +
         more;
}

std::string submission(const std::string& text) {
  return json::serialize(json::object{{"manifest", text},
                                      {"settings", json::array{"training.seed = 7"}},
                                      {"source", {{"place", "https://example.org/x"}, {"commit", "0123abcd"}}}});
}

std::string access(CoordinatorProcess& coordinator, const std::string& name, const std::string& role) {
  const auto made =
      coordinator.json("POST", "/v1/access", json::serialize(json::object{{"name", name}, {"role", role}}));
  return std::string(made.at("token").as_string());
}

std::string state_of(CoordinatorProcess& coordinator, const std::string& run) {
  return std::string(coordinator.json("GET", "/v1/runs/" + run).at("state").as_string());
}

// The next task of this run; repeated ones of others are passed over.
wire::Task task_of(Device& device, const std::string& run, wire::TaskKind kind) {
  auto task = device.await<wire::Task>("task");
  while (task.ref.run.str() != run || task.kind != kind) {
    task = device.await<wire::Task>("task");
  }
  return task;
}

void deliver(Device& device, const wire::Task& task, const std::string& blob) {
  REQUIRE(device.upload(device.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
}

}  // namespace

TEST_CASE("projects: what was submitted is a run, and stays known with its source") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const auto run = coordinator.json("POST", "/v1/projects", submission(manifest("p")));
  CHECK(run.at("project").as_string() == "p");
  CHECK(run.at("place").as_string() == "https://example.org/x");
  CHECK(run.at("commit").as_string() == "0123abcd");
  CHECK(run.at("manifest").as_string().size() == 64);
  CHECK(run.at("spec").at("rounds").as_int64() == 2);
  CHECK(run.at("spec").at("seed").as_int64() == 7);

  // The same again is a new run of the same settings.
  CHECK(coordinator.json("POST", "/v1/projects", submission(manifest("p"))).at("manifest") == run.at("manifest"));
  coordinator.kill();
  coordinator.start();
  const auto project = coordinator.json("GET", "/v1/projects/p");
  CHECK(project.at("owner").as_string() == "admin");
  CHECK(project.at("description").as_string() == "What for");
  CHECK(project.at("tags").as_array() == json::array{"a", "b c"});
  REQUIRE(project.at("runs").as_array().size() == 2);
  CHECK(project.at("runs").at(0).at("id").as_string() == "run-2");
  CHECK(coordinator.json("GET", "/v1/projects").at("projects").as_array().size() == 1);

  CHECK(coordinator.api("DELETE", "/v1/projects/p").status == 409);
  coordinator.json("POST", "/v1/projects/p/stop");
  CHECK(state_of(coordinator, "run-1") == "stopped");
  CHECK(state_of(coordinator, "run-2") == "stopped");
  CHECK(coordinator.api("DELETE", "/v1/projects/p").status == 204);
  CHECK(coordinator.api("GET", "/v1/projects/p").status == 404);
  CHECK(coordinator.json("GET", "/v1/runs/run-1").at("project").is_null());
  const auto audit = coordinator.json("GET", "/v1/audit?target=p").at("audit");
  CHECK(audit.as_array().size() == 4);
  CHECK(audit.at(0).at("action").as_string() == "project deleted");
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("projects: what is wrong with a submission is said, and nothing begins") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  struct Row {
    std::string body;
    int status;
    const char* message;
  };
  const std::string good = manifest("p");
  for (const Row& row : {
           Row{"nonsense", 400, "JSON"},
           Row{"{}", 422, "'project.name' is missing"},
           Row{json::serialize(json::object{{"manifest", 7}}), 422, "'project.name' is missing"},
           Row{json::serialize(json::object{{"manifest", manifest("p", "[quantum]\n")}}), 422, "flops.toml:14"},
           Row{json::serialize(json::object{{"manifest", std::string(70'000, '#')}}), 422, "at most 65536"},
           Row{json::serialize(json::object{{"manifest", good}, {"settings", "x"}}), 400, "'settings'"},
           Row{json::serialize(json::object{{"manifest", good}, {"settings", json::array{1}}}), 400, "'settings'"},
           Row{json::serialize(json::object{{"manifest", good}, {"settings", json::array{"speed=1"}}}), 422, "speed"},
           Row{json::serialize(json::object{{"manifest", good}, {"source", json::array()}}), 400, "'source'"},
           Row{json::serialize(json::object{{"manifest", good}, {"source", {{"place", "a\nb"}}}}), 400, "'source'"},
           Row{json::serialize(json::object{{"manifest", good}, {"source", {{"commit", std::string(65, 'a')}}}}), 400,
               "'source'"},
       }) {
    CAPTURE(row.body.substr(0, 200));
    const auto response = coordinator.api("POST", "/v1/projects", row.body);
    CHECK(response.status == row.status);
    CHECK_MESSAGE(response.body.contains(row.message), response.body);
  }
  for (const auto& [method, path, status] :
       {std::tuple{"GET", "/v1/projects/none", 404}, std::tuple{"POST", "/v1/projects/none/stop", 404},
        std::tuple{"GET", "/v1/projects/", 404}, std::tuple{"DELETE", "/v1/projects", 405}}) {
    CAPTURE(path);
    CHECK(coordinator.api(method, path).status == status);
  }
  coordinator.json("POST", "/v1/projects", submission(good));
  CHECK(coordinator.api("POST", "/v1/projects/p/explode").status == 404);
  CHECK(coordinator.api("GET", "/v1/projects/p/stop").status == 405);
  CHECK(coordinator.api("PATCH", "/v1/projects/p").status == 405);
  CHECK(coordinator.json("GET", "/v1/runs").at("runs").as_array().size() == 1);
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("projects: their owner and admins may change them, operators submit, viewers look") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const std::string ada = access(coordinator, "ada", "operator");
  const std::string bob = access(coordinator, "bob", "operator");
  const std::string eve = access(coordinator, "eve", "viewer");
  const auto as = [&](const std::string& who, const char* method, const std::string& path,
                      const std::string& body = {}) { return coordinator.api_with(who, method, path, body).status; };
  CHECK(as(eve, "POST", "/v1/projects", submission(manifest("p"))) == 403);
  CHECK(as(ada, "POST", "/v1/projects", submission(manifest("p"))) == 201);
  CHECK(coordinator.json("GET", "/v1/projects/p").at("owner").as_string() == "ada");
  CHECK(as(eve, "GET", "/v1/projects/p") == 200);
  CHECK(as(eve, "GET", "/v1/projects") == 200);
  for (const std::string& other : {bob, eve}) {
    CHECK(as(other, "POST", "/v1/projects", submission(manifest("p"))) == 403);
    CHECK(as(other, "POST", "/v1/projects/p/stop") == 403);
    CHECK(as(other, "POST", "/v1/projects/p/pause") == 403);
    CHECK(as(other, "DELETE", "/v1/projects/p") == 403);
    CHECK(as(other, "POST", "/v1/runs/run-1/stop") == 403);
  }
  CHECK(state_of(coordinator, "run-1") == "waiting");
  CHECK(as(bob, "POST", "/v1/projects", submission(manifest("q"))) == 201);
  CHECK(as(ada, "POST", "/v1/projects/p/pause") == 200);
  CHECK(as(ada, "POST", "/v1/projects/p/resume") == 200);
  CHECK(as(ada, "POST", "/v1/runs/run-1/stop") == 200);
  CHECK(coordinator.json("POST", "/v1/projects/q/stop").at("runs").at(0).at("state").as_string() == "stopped");
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("projects: a paused one leaves the fleet to the next, and goes on where it was") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, coordinator.token(2));
  coordinator.json("POST", "/v1/projects", submission(manifest("long", "min_available = 2\nfraction = 1.0\n")));
  const auto initial = values(0.1F, 1);
  deliver(a, task_of(a, "run-1", wire::TaskKind::init), encoded(initial));
  const auto first_a = task_of(a, "run-1", wire::TaskKind::train);
  const auto first_b = task_of(b, "run-1", wire::TaskKind::train);
  deliver(a, first_a, encoded(values(0.1F, 2), initial));  // counts before the pause

  coordinator.json("POST", "/v1/projects/long/pause");
  CHECK(state_of(coordinator, "run-1") == "paused");
  CHECK(b.await<wire::Cancel>("cancel").ref == first_b.ref);
  coordinator.json("POST", "/v1/projects", submission(manifest("short", "min_available = 2\n")));

  SUBCASE("without a disturbance") {}
  SUBCASE("with the coordinator killed in the pause") {
    a.drop();
    b.drop();
    coordinator.kill();
    coordinator.start();
    connect_all({&a, &b});
  }
  // The other one has the fleet, to its end.
  const auto other = values(0.2F, 5);
  bool made_by_a = false;
  REQUIRE(run_until(loop, [&] { return a.has("task") || b.has("task"); }));
  made_by_a = a.has("task");
  Device& maker = made_by_a ? a : b;
  deliver(maker, task_of(maker, "run-2", wire::TaskKind::init), encoded(other));
  for (int round = 1; round <= 2; ++round) {
    const auto base = round == 1 ? other : values(0.2F, 6);
    for (Device* device : {&a, &b}) {
      const auto task = task_of(*device, "run-2", wire::TaskKind::train);
      deliver(*device, task, encoded(values(0.2F, 5 + static_cast<unsigned>(round)), base));
    }
  }
  REQUIRE(run_until(loop, [&] { return state_of(coordinator, "run-2") == "finished"; }));
  CHECK(state_of(coordinator, "run-1") == "paused");
  // What a device offers meanwhile is not asked for.
  CHECK_FALSE(a.has("task"));

  coordinator.json("POST", "/v1/projects/long/resume");
  const auto again_b = task_of(b, "run-1", wire::TaskKind::train);
  CHECK(again_b.ref.task != first_b.ref.task);  // what is over for a device stays so
  CHECK(again_b.ref.round == 1);
  CHECK(again_b.seed == first_b.seed);
  CHECK(again_b.base == first_b.base);
  deliver(b, again_b, encoded(values(0.1F, 2), initial));
  // The update from before the pause is in the mean: two devices, the same values.
  const auto second = task_of(a, "run-1", wire::TaskKind::train);
  CHECK(second.ref.round == 2);
  const auto closed = coordinator.json("GET", "/v1/runs/run-1").at("rounds").at(0);
  CHECK(closed.at("participants").as_int64() == 2);
  CHECK(closed.at("dropped").as_int64() == 0);
  const auto base = values(0.1F, 2);
  deliver(a, second, encoded(values(0.1F, 3), base));
  deliver(b, task_of(b, "run-1", wire::TaskKind::train), encoded(values(0.1F, 3), base));
  CHECK(run_until(loop, [&] { return state_of(coordinator, "run-1") == "finished"; }));
  CHECK(coordinator.stop() == 0);
}
