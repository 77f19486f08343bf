// What a run asks for beside its rounds: a learning rate that changes, a goal, machines that are large enough.
#include <doctest/doctest.h>

#include "device.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20U;

void make_initial_model(Device& device, const std::vector<float>& initial) {
  const auto task = device.await<wire::Task>("task");
  REQUIRE(task.kind == wire::TaskKind::init);
  const std::string blob = encoded(initial);
  REQUIRE(device.upload(device.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
}

// Answers the task with `around` as the new model's values.
void train(Device& device, const wire::Task& task, const std::vector<float>& base, const std::vector<float>& local) {
  const std::string blob = encoded(local, base);
  REQUIRE(device.upload(device.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
}

void measure(Device& device, const wire::Task& task, double accuracy) {
  wire::Metrics metrics;
  metrics.ref = task.ref;
  metrics.model = task.base;
  metrics.samples = 20;
  metrics.loss = 1 - accuracy;
  metrics.accuracy = accuracy;
  device.send("metrics", wire::encode(metrics));
}

boost::json::value await_over(CoordinatorProcess& coordinator) {
  boost::json::value run;
  REQUIRE(run_until(coordinator.loop(), [&] {
    run = coordinator.json("GET", "/v1/runs/run-1");
    return run.at("state").as_string() == "finished";
  }));
  return run;
}

}  // namespace

TEST_CASE("conditions: each round's task has the learning rate of the schedule") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  a.join(coordinator.token());
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","rounds":3,"min_fit":1,"evaluate":false,
      "training":{"learning_rate":0.4},"schedule":{"decay":"step","factor":0.5,"every":1,"warmup":1}})");
  auto base = values(0.1F, 1);
  make_initial_model(a, base);
  for (const double expected : {0.2, 0.4, 0.2}) {
    const auto task = a.await<wire::Task>("task");
    CHECK(task.training.learning_rate == doctest::Approx(expected));
    auto local = values(0.1F, static_cast<unsigned>(task.ref.round) + 1);
    train(a, task, base, local);
    base = std::move(local);
  }
  CHECK(await_over(coordinator).at("reason").as_string() == "");
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("conditions: a run ends when the devices measure what was wanted, with the model that they measured") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, coordinator.token(2));
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","rounds":9,"min_fit":2,
      "goal":{"accuracy":0.8,"min_evaluate":2}})");
  const auto initial = values(0.1F, 1);
  make_initial_model(a, initial);
  train(a, a.await<wire::Task>("task"), initial, values(0.1F, 2));
  train(b, b.await<wire::Task>("task"), initial, values(0.1F, 3));
  const auto second_a = a.await<wire::Task>("task");
  const auto second_b = b.await<wire::Task>("task");
  REQUIRE(second_a.ref.round == 2);
  REQUIRE(second_a.evaluate);
  measure(a, second_a, 0.75);

  SUBCASE("without a disturbance") {}
  SUBCASE("with the coordinator killed between the measurements") {
    a.drop();
    b.drop();
    coordinator.kill();
    coordinator.start();
    connect_all({&a, &b});
    CHECK(a.await<wire::Task>("task").ref == second_a.ref);
    measure(a, second_a, 0.75);
  }
  measure(b, second_b, 0.87);
  const auto run = await_over(coordinator);
  CHECK(run.at("reason").as_string() == "the model of round 1 has accuracy 0.8100, and 0.8000 was wanted");
  CHECK(run.at("round").as_int64() == 1);
  CHECK(run.at("accuracy").as_double() == doctest::Approx(0.81));
  CHECK(run.at("model_digest").as_string() == second_a.base.hex());
  const auto& rounds = run.at("rounds").as_array();
  REQUIRE(rounds.size() == 2);
  CHECK(rounds[0].at("state").as_string() == "done");
  CHECK(rounds[0].at("evaluated_devices").as_int64() == 2);
  CHECK(rounds[1].at("state").as_string() == "cancelled");
  CHECK(rounds[1].at("dropped").as_int64() == 0);
  CHECK(a.await<wire::Cancel>("cancel").reason == "the run's goal is reached");
  CHECK(b.await<wire::Cancel>("cancel").ref == second_b.ref);
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("conditions: a goal that is reached when the next round is closed is looked at all the same") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, coordinator.token(2));
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","rounds":9,"min_fit":2,
      "goal":{"loss":0.3}})");
  const auto initial = values(0.1F, 1);
  make_initial_model(a, initial);
  std::vector<float> base = initial;
  train(a, a.await<wire::Task>("task"), base, values(0.1F, 2));
  train(b, b.await<wire::Task>("task"), base, values(0.1F, 2));
  base = values(0.1F, 2);
  const auto second_a = a.await<wire::Task>("task");
  const auto second_b = b.await<wire::Task>("task");
  measure(a, second_a, 0.75);  // b measures nothing
  train(a, second_a, base, values(0.1F, 3));
  train(b, second_b, base, values(0.1F, 3));
  // The model of round 1 was good enough; that of round 2 is there by now, and is measured before the run ends.
  for (Device* device : {&a, &b}) {
    auto task = device->await<wire::Task>("task");
    while (task.kind != wire::TaskKind::evaluate) {
      task = device->await<wire::Task>("task");
    }
    CHECK(task.ref.round == 2);
    measure(*device, task, 0.6);
    wire::ResultMessage done;
    done.ref = task.ref;
    device->send("result", wire::encode(done));
  }
  const auto run = await_over(coordinator);
  CHECK(run.at("reason").as_string() == "the run's goal was reached");
  CHECK(run.at("round").as_int64() == 2);
  CHECK(run.at("accuracy").as_double() == doctest::Approx(0.6));
  CHECK(run.at("rounds").at(1).at("evaluated_devices").as_int64() == 2);
  CHECK(run.at("rounds").at(2).at("state").as_string() == "cancelled");
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("conditions: devices that lack what a run requires are left out, and a run for none is refused") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device small(coordinator, "small");
  Device large(coordinator, "large");
  small.memory(512 * mib);
  large.memory(2048 * mib);
  join_all({&small, &large}, coordinator.token(2));
  REQUIRE(run_until(loop, [&] {
    return coordinator.json("GET", "/v1/devices/large").at("memory_bytes").to_number<std::uint64_t>() == 2048 * mib &&
           coordinator.json("GET", "/v1/devices/small").at("memory_bytes").to_number<std::uint64_t>() == 512 * mib;
  }));
  const auto refused = coordinator.api("POST", "/v1/runs", R"({"model":"m","data":"digits","min_fit":1,
      "requirements":{"memory_mb":4096}})");
  CHECK(refused.status == 422);
  CHECK(refused.body.contains("nobody_can"));
  CHECK_MESSAGE(refused.body.contains("large: 2048 MiB of memory, 4096 are wanted"), refused.body);
  // Of data that nobody has yet nothing can be said.
  const auto later = coordinator.api("POST", "/v1/runs", R"({"model":"m","data":"letters","min_fit":1,
      "requirements":{"memory_mb":4096}})");
  CHECK(later.status == 201);
  coordinator.json("POST", "/v1/runs/run-1/stop");

  const auto run = coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","min_fit":1,"evaluate":false,
      "requirements":{"memory_mb":1024}})");
  REQUIRE(run.at("left_out").as_array().size() == 1);
  CHECK(run.at("left_out").at(0).at("device").as_string() == "small");
  CHECK(run.at("left_out").at(0).at("reason").as_string() == "512 MiB of memory, 1024 are wanted");
  const auto initial = values(0.1F, 1);
  make_initial_model(large, initial);
  const auto first = large.await<wire::Task>("task");
  CHECK(first.ref.round == 1);

  // It has got more, and says so: it takes part from the next round on.
  small.memory(1024 * mib);
  small.say_hello();
  REQUIRE(run_until(loop, [&] { return coordinator.json("GET", "/v1/runs/run-2").at("left_out").as_array().empty(); }));
  CHECK_FALSE(small.has("task"));
  train(large, first, initial, values(0.1F, 2));
  CHECK(small.await<wire::Task>("task").ref.round == 2);
  CHECK(coordinator.stop() == 0);
}
