// Runs with an algorithm: the server's step and its state, the devices' part, selection by loss.
#include <algorithm>
#include <memory>
#include <set>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/algorithms/algorithm.hpp"
#include "flops/tensor/safetensors.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// Devices "a", "b" and so on.
struct Group {
  Group(std::size_t count, const std::string& spec) : coordinator(loop) {
    const std::string token = coordinator.token(static_cast<int>(count));
    for (std::size_t n = 0; n < count; ++n) {
      devices.push_back(std::make_unique<Device>(coordinator, std::string(1, static_cast<char>('a' + n))));
    }
    join_all(everyone(), token);
    coordinator.json("POST", "/v1/runs", spec);
    Device& maker = *devices.front();
    const auto task = maker.await<wire::Task>("task");
    const std::string blob = encoded(initial);
    REQUIRE(maker.upload(maker.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  }

  wire::Task task_of(Device& device, std::int64_t round) {
    while (true) {
      const auto task = device.await<wire::Task>("task");
      if (task.ref.round == round && task.kind == wire::TaskKind::train) {
        return task;
      }
    }
  }
  // Whoever is asked in this round; one device is.
  std::pair<Device*, wire::Task> asked(std::int64_t round) {
    Device* found = nullptr;
    REQUIRE(run_until(loop, [&] {
      const auto has = std::ranges::find_if(devices, [](const auto& device) { return device->has("task"); });
      found = has == devices.end() ? nullptr : has->get();
      return found != nullptr;
    }));
    return {found, task_of(*found, round)};
  }
  void deliver(Device& device, const wire::Task& task, const std::vector<float>& from, const std::vector<float>& to,
               double loss = 1) {
    const std::string blob = encoded(to, from);
    auto offer = device.result_for(task, blob);
    offer.train_loss = loss;
    REQUIRE(device.upload(offer, blob).status == wire::ReceiptStatus::accepted);
  }
  void crash() {
    for (const auto& device : devices) {
      device->drop();
    }
    coordinator.kill();
    coordinator.start();
    connect_all(everyone());
  }
  [[nodiscard]] std::vector<Device*> everyone() const {
    std::vector<Device*> all;
    std::ranges::transform(devices, std::back_inserter(all), [](const auto& device) { return device.get(); });
    return all;
  }
  [[nodiscard]] std::size_t states() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(coordinator.state() / "models")) {
      count += entry.path().filename().string().ends_with(".state.safetensors") ? 1U : 0U;
    }
    return count;
  }
  boost::json::value run() { return coordinator.json("GET", "/v1/runs/run-1"); }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<float> initial = values(0.1F, 1);
};

// The server's steps in plain memory.
struct Server {
  explicit Server(const algorithms::Spec& spec) : algorithm(algorithms::make(spec).value()) {}

  std::vector<float> step(const std::vector<float>& base, const std::vector<float>& mean) {
    std::vector<float> next(base.size());
    algorithm->step({0, base, mean, next, {first, second}}, {{1, 10, 0, 0}, 1, base.size()});
    return next;
  }

  std::unique_ptr<algorithms::Algorithm> algorithm;
  std::vector<float> first = std::vector<float>(parameters);
  std::vector<float> second = std::vector<float>(parameters);
};

Digest digest_of(const std::vector<float>& model) {
  return tensor::model_digest(test_layout(), tensor::from_memory(model)).value();
}

}  // namespace

TEST_CASE("coordinator: FedAdam's steps are those of the formula, and a crash between rounds changes no bit") {
  std::int64_t crash_before = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed after the first round") {
    crash_before = 2;
  }
  SUBCASE("killed after the second round") {
    crash_before = 3;
  }
  Group group(1, R"({"model":"m","data":"digits","rounds":3,"min_fit":1,"evaluate":false,
                     "algorithm":{"name":"fedadam","server_learning_rate":0.02,"adaptivity":0.01}})");
  Device& device = *group.devices.front();
  algorithms::Spec spec = algorithms::defaults("fedadam");
  spec.server_learning_rate = 0.02;
  spec.adaptivity = 0.01;
  Server server(spec);
  std::vector<float> base = group.initial;
  for (std::int64_t round = 1; round <= 3; ++round) {
    if (round == crash_before) {
      (void)group.task_of(device, round);  // the model before is made
      group.crash();
    }
    const auto task = group.task_of(device, round);
    REQUIRE(task.base == digest_of(base));
    CHECK(task.training.proximal == 0);
    if (round == 3) {
      CHECK(run_until(group.loop, [&] { return group.states() == 1; }));  // the first one is of no use any more
    }
    const std::vector<float> local = values(0.1F, 20 + static_cast<unsigned>(round));
    group.deliver(device, task, base, local);
    base = server.step(base, local);
  }
  REQUIRE(run_until(group.loop, [&] { return group.run().at("state").as_string() == "finished"; }));
  CHECK(group.run().at("model_digest").as_string() == digest_of(base).hex());
  CHECK(group.run().at("algorithm").as_string() == "fedadam");
  CHECK(run_until(group.loop, [&] { return group.states() == 0; }));
}

TEST_CASE("coordinator: devices are told FedProx's mu") {
  Group group(1, R"({"model":"m","data":"digits","rounds":1,"min_fit":1,"evaluate":false,
                     "algorithm":{"name":"fedprox","proximal":0.25}})");
  CHECK(group.task_of(*group.devices.front(), 1).training.proximal == 0.25);
}

TEST_CASE("coordinator: with candidates the device with the highest loss is asked, also after a crash") {
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed before the losses decide") {
    crash = true;
  }
  Group group(3, R"({"model":"m","data":"digits","rounds":4,"min_fit":1,"min_available":3,"fraction":0.3,
                     "candidates":3,"evaluate":false})");
  std::vector<float> base = group.initial;
  std::set<DeviceId> turns;
  for (std::int64_t round = 1; round <= 3; ++round) {
    const auto [device, task] = group.asked(round);
    if (crash && round == 3) {
      group.crash();
    }
    const std::vector<float> local = values(0.1F, static_cast<unsigned>(round));
    group.deliver(*device, task, base, local, device->id().str() == "b" ? 3 : 0.5);
    base = local;
    turns.insert(device->id());
  }
  CHECK(turns.size() == 3);  // everyone's loss is heard once before any counts
  Device& worst = *group.devices[1];
  CHECK(group.task_of(worst, 4).ref.round == 4);
}
