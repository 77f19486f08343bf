#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/safetensors.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr const char* one_round = R"({"model":"m","data":"digits","rounds":1,"min_fit":2,"evaluate":false})";

wire::Task make_initial_model(Device& device, const std::vector<float>& initial) {
  const auto task = device.await<wire::Task>("task");
  REQUIRE(task.kind == wire::TaskKind::init);
  const std::string blob = encoded(initial);
  REQUIRE(device.upload(device.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  return task;
}

bool await_state(CoordinatorProcess& coordinator, const std::string& state) {
  return run_until(coordinator.loop(),
                   [&] { return coordinator.json("GET", "/v1/runs/run-1").at("state").as_string() == state; });
}

// The weighted mean in plain doubles.
float mean_of(float a, double weight_a, float b, double weight_b) {
  return static_cast<float>((weight_a * static_cast<double>(a) + weight_b * static_cast<double>(b)) /
                            (weight_a + weight_b));
}

}  // namespace

TEST_CASE("coordinator: two devices train one round, and the model is their weighted mean") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const std::string token = coordinator.token(2);
  Device a(coordinator, "a");
  Device b(coordinator, "b");
  join_all({&a, &b}, token);
  REQUIRE(coordinator.json("POST", "/v1/runs", one_round).at("id").as_string() == "run-1");
  const auto initial = values(0.1F, 1);
  make_initial_model(a, initial);

  const auto task_a = a.await<wire::Task>("task");
  const auto task_b = b.await<wire::Task>("task");
  CHECK(task_a.base == tensor::model_digest(test_layout(), tensor::from_memory(initial)).value());
  CHECK(task_a.seed != task_b.seed);
  REQUIRE(task_a.base_blob.has_value());
  const auto local_a = values(0.1F, 2);
  const auto local_b = values(0.1F, 3);
  const std::string blob_a = encoded(local_a, initial);
  const std::string blob_b = encoded(local_b, initial);
  REQUIRE(a.upload(a.result_for(task_a, blob_a, 30), blob_a).status == wire::ReceiptStatus::accepted);

  SUBCASE("without a disturbance") {}
  SUBCASE("with the coordinator killed between the updates") {
    a.drop();
    b.drop();
    coordinator.kill();
    coordinator.start();
    connect_all({&a, &b});
    CHECK(b.await<wire::Task>("task").ref == task_b.ref);
    // What was accepted before is not asked for again; offering it again counts once.
    a.send("result", wire::encode(a.result_for(task_a, blob_a, 30)));
    CHECK(a.await<wire::Receipt>("receipt").status == wire::ReceiptStatus::duplicate);
  }
  REQUIRE(b.upload(b.result_for(task_b, blob_b, 70), blob_b).status == wire::ReceiptStatus::accepted);
  REQUIRE(await_state(coordinator, "finished"));

  const auto run = coordinator.json("GET", "/v1/runs/run-1");
  const std::string digest(run.at("model_digest").as_string());
  const auto file = tensor::open_safetensors(coordinator.state() / "models" / (digest + ".safetensors"));
  REQUIRE_MESSAGE(file.has_value(), file.error().what);
  std::vector<float> model(parameters);
  REQUIRE(file->values()(0, model).has_value());
  for (std::size_t i = 0; i < parameters; i += 101) {
    CHECK(model[i] == doctest::Approx(mean_of(local_a[i], 30, local_b[i], 70)).epsilon(1e-6));
  }
  const auto& rounds = run.at("rounds").as_array();
  REQUIRE(rounds.size() == 1);
  CHECK(rounds[0].at("participants").as_int64() == 2);
  CHECK(rounds[0].at("bytes_up").to_number<std::uint64_t>() == blob_a.size() + blob_b.size());

  // A repeated offer after the end is answered too, so that the device can let go.
  b.send("result", wire::encode(b.result_for(task_b, blob_b, 70)));
  CHECK(b.await<wire::Receipt>("receipt").status == wire::ReceiptStatus::duplicate);
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("coordinator: the mean of one device is its update, byte for byte, and the next round still has it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  a.join(coordinator.token());
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","rounds":2,"min_fit":1,"evaluate":false})");
  const auto initial = values(0.1F, 1);
  make_initial_model(a, initial);
  const auto first = a.await<wire::Task>("task");
  const auto local = values(0.1F, 2);
  const std::string blob = encoded(local, initial);
  REQUIRE(a.upload(a.result_for(first, blob), blob).status == wire::ReceiptStatus::accepted);

  const auto second = a.await<wire::Task>("task");
  REQUIRE(second.ref.round == 2);
  CHECK(second.base_blob->sha256 == crypto::sha256(blob));
  const std::string hex = second.base_blob->sha256.hex();
  CHECK(std::filesystem::exists(coordinator.state() / "downloads" / "objects" / hex.substr(0, 2) / hex));
  const auto summed = coordinator.state() / "updates" / "objects" / hex.substr(0, 2) / hex;
  CHECK(run_until(loop, [&] { return !std::filesystem::exists(summed); }));
  const std::string last = encoded(values(0.1F, 3), local);
  REQUIRE(a.upload(a.result_for(second, last), last).status == wire::ReceiptStatus::accepted);
  REQUIRE(await_state(coordinator, "finished"));
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("coordinator: it stops properly, keeps one process a state folder, and a run can be stopped") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  a.join(coordinator.token());
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","min_fit":1})");
  const auto task = a.await<wire::Task>("task");
  CHECK(coordinator.json("POST", "/v1/runs/run-1/stop").at("state").as_string() == "stopped");
  CHECK(a.await<wire::Cancel>("cancel").ref.task == task.ref.task);
  CHECK(coordinator.stop() == 0);
}

TEST_CASE("coordinator: a device whose hello got lost is asked for it, and then takes part") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device a(coordinator, "a");
  REQUIRE(a.enrol(coordinator.token()).status == 200);
  coordinator.json("POST", "/v1/runs", R"({"model":"m","data":"digits","min_fit":1})");
  a.connect(false);
  CHECK(a.await<wire::HelloRequest>("hello").session == "s");
  a.say_hello();
  CHECK(a.await<wire::Task>("task").kind == wire::TaskKind::init);
}
