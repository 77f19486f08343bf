// Runs with clusters: the same bits as a flat run, models of clusters, crashes, clusters that are too small.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flat_model.hpp"
#include "flops/tensor/safetensors.hpp"
#include "onlooker.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// Devices "a" to "d"; "a" and "b" are of the cluster "north", the others of "south".
struct Fleet {
  explicit Fleet(const std::string& spec, const std::string& present = "abcd") : coordinator(loop) {
    token = coordinator.token(8);
    for (const char name : present) {
      add(name);
    }
    join_all(everyone(), token);
    coordinator.json("POST", "/v1/runs", spec);
  }

  Device& add(char name) {
    auto device = std::make_unique<Device>(coordinator, std::string(1, name));
    device->label("site", name < 'c' ? "north" : "south");
    return *(devices[name] = std::move(device));
  }
  [[nodiscard]] std::vector<Device*> everyone() const {
    std::vector<Device*> all;
    std::ranges::transform(devices, std::back_inserter(all), [](const auto& device) { return device.second.get(); });
    return all;
  }
  void initialise() {
    Device& maker = *devices.begin()->second;
    const auto task = maker.await<wire::Task>("task");
    REQUIRE(task.kind == wire::TaskKind::init);
    const std::string blob = encoded(values(0.1F, initial_seed));
    REQUIRE(maker.upload(maker.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  }
  wire::Task task_of(char name, std::int64_t round) {
    while (true) {
      const auto task = devices.at(name)->await<wire::Task>("task");
      if (task.ref.round == round && task.kind == wire::TaskKind::train) {
        return task;
      }
    }
  }
  // Trains: a step of its own for each device and round, from the task's base.
  std::vector<float> work(char name, std::int64_t round) { return work(name, task_of(name, round)); }
  std::vector<float> work(char name, const wire::Task& task) {
    const std::int64_t round = task.ref.round;
    Device& device = *devices.at(name);
    const std::vector<float> from = model(task.base.hex());
    const std::vector<float> to = trained(name, round, from);
    const std::string blob = encoded(to, from);
    const auto receipt = device.upload(device.result_for(task, blob, weight_of(name)), blob);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
    bases[round].insert(task.base);
    cycles[round] = task.ref.cycle;
    return to;
  }
  void measure(char name, const wire::Task& task, double accuracy) {
    wire::Metrics metrics;
    metrics.ref = task.ref;
    metrics.model = task.base;
    metrics.samples = 10;
    metrics.accuracy = accuracy;
    devices.at(name)->send("metrics", wire::encode(metrics));
  }
  void crash() {
    for (auto& [name, device] : devices) {
      device->drop();
    }
    coordinator.kill();
    coordinator.start();
    connect_all(everyone());
  }
  [[nodiscard]] std::vector<float> model(const std::string& hex) {
    const auto file = tensor::open_safetensors(coordinator.state() / "models" / (hex + ".safetensors"));
    REQUIRE_MESSAGE(file.has_value(), file.error().what);
    std::vector<float> read(parameters);
    REQUIRE(file->values()(0, read).has_value());
    return read;
  }
  [[nodiscard]] boost::json::value run() { return coordinator.json("GET", "/v1/runs/run-1"); }
  [[nodiscard]] boost::json::value cluster(const char* name) {
    return coordinator.json("GET", std::string("/v1/clusters/") + name);
  }
  [[nodiscard]] bool await_cluster(const char* name, const std::string& state) {
    return run_until(loop, [&] { return cluster(name).at("state").as_string() == state; });
  }
  // Its model, when it is finished.
  [[nodiscard]] std::string finished() {
    REQUIRE_MESSAGE(run_until(loop, [&] { return run().at("state").as_string() == "finished"; }),
                    boost::json::serialize(run()) << coordinator.log());
    return std::string(run().at("model_digest").as_string());
  }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  std::string token;
  std::map<char, std::unique_ptr<Device>> devices;
  std::map<std::int64_t, std::set<Digest>> bases;  // of the tasks of a round
  std::map<std::int64_t, std::int64_t> cycles;     // as the tasks of a round named it
};

std::string spec_of(int cycles, int rounds, const std::string& more) {
  return fmt::format(R"({{"model":"m","data":"digits","cycles":{},"rounds":{},"min_fit":2,"evaluate":false{}}})",
                     cycles, rounds, more);
}
const std::string by_site = R"(,"clusters":"label:site","global":{"min_fit":2})";

}  // namespace

const std::string& flops::test::flat_model() {
  static const std::string digest = [] {
    Fleet fleet(spec_of(3, 1, R"(,"min_available":4)"));
    fleet.initialise();
    for (const std::int64_t round : {1, 2, 3}) {
      for (const char name : {'a', 'b', 'c', 'd'}) {
        (void)fleet.work(name, round);
      }
    }
    return fleet.finished();
  }();
  return digest;
}

TEST_CASE("grouped: with one round a cycle, and killed wherever, the model has the digest of the flat run") {
  int crash_at = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed in a cluster's round") {
    crash_at = 1;
  }
  SUBCASE("killed when one cluster has handed up") {
    crash_at = 2;
  }
  SUBCASE("killed when all have, and the top makes its model") {
    crash_at = 3;
  }
  SUBCASE("killed at each of them") {
    crash_at = 4;
  }
  Fleet fleet(spec_of(3, 1, by_site));
  const auto crash_if = [&](int at) {
    if (crash_at == at || crash_at == 4) {
      fleet.crash();
    }
  };
  fleet.initialise();
  for (const std::int64_t round : {1, 2, 3}) {
    (void)fleet.work('a', round);
    (void)fleet.work('c', round);
    if (round == 2) {
      crash_if(1);
    }
    (void)fleet.work('b', round);
    if (round == 2) {
      REQUIRE(fleet.await_cluster("north", "handed_up"));
      crash_if(2);
    }
    (void)fleet.work('d', round);
    if (round == 2) {
      crash_if(3);
    }
    CHECK(fleet.bases[round].size() == 1);
    CHECK(fleet.cycles[round] == round);
  }
  CHECK(fleet.finished() == flat_model());
  const auto run = fleet.run();
  REQUIRE(run.at("rounds").as_array().size() == 3);
  CHECK(run.at("rounds").at(1).at("participants").as_int64() == 2);
  CHECK(run.at("rounds").at(1).at("bytes_up").as_int64() > 0);
  REQUIRE(run.at("clusters").as_array().size() == 2);
  CHECK(run.at("clusters").at(0).at("cluster").as_string() == "north");
  CHECK(run.at("clusters").at(0).at("rounds").as_array().size() == 3);
  CHECK(run.at("levels").at(0).at("bytes_up").as_int64() == run.at("bytes_up").as_int64());
  CHECK(run.at("levels").at(1).at("bytes_up").as_int64() == 0);
  CHECK(fleet.coordinator.stop() == 0);
}

// What comes while the round is being closed is not recorded, so it may not be in the sum either: after a restart it
// would be missing.
TEST_CASE("grouped: an update that is being summed when its cluster hands up does not count") {
  Fleet fleet(R"({"model":"m","data":"digits","cycles":4,"rounds":1,"min_fit":1,"evaluate":false,"fraction":0.5,
                  "over_select":1,"clusters":"label:site","global":{"min_fit":2}})");
  fleet.initialise();
  for (const std::int64_t round : {1, 2, 3, 4}) {
    std::map<char, std::vector<float>> trained_to;
    std::map<char, std::string> blobs;
    std::map<char, wire::Grant> grants;
    for (const char name : {'a', 'b', 'c', 'd'}) {
      const auto task = fleet.task_of(name, round);
      const std::vector<float> from = fleet.model(task.base.hex());
      trained_to[name] = trained(name, round, from);
      blobs[name] = encoded(trained_to[name], from);
      Device& device = *fleet.devices.at(name);
      device.send("result", wire::encode(device.result_for(task, blobs[name], weight_of(name))));
      grants[name] = device.await<wire::Grant>("grant");
    }
    // All but the last chunk of each, then the last ones together.
    const auto send = [&](char name, std::uint32_t n) {
      fleet.devices.at(name)->send_chunk(grants.at(name).blob, n,
                                         blobs.at(name).substr(std::size_t{n} * blob::chunk_size, blob::chunk_size));
    };
    const auto last_of = [&](char name) {
      return static_cast<std::uint32_t>((blobs.at(name).size() - 1) / blob::chunk_size);
    };
    for (const char name : {'a', 'b', 'c', 'd'}) {
      for (std::uint32_t n = 0; n < last_of(name); ++n) {
        send(name, n);
      }
    }
    for (const char name : {'a', 'b', 'c', 'd'}) {
      send(name, last_of(name));
    }
    const auto closed = [&] {
      const auto run = fleet.run();
      return run.at("rounds").as_array().size() >= static_cast<std::size_t>(round) &&
             run.at("rounds").at(static_cast<std::size_t>(round) - 1).at("model_digest").is_string();
    };
    REQUIRE_MESSAGE(run_until(fleet.loop, closed), boost::json::serialize(fleet.run()) << fleet.coordinator.log());
    const auto has_receipt = [&](char name) { return fleet.devices.at(name)->has("receipt"); };
    REQUIRE(run_until(
        fleet.loop, [&] { return (has_receipt('a') || has_receipt('b')) && (has_receipt('c') || has_receipt('d')); }));
    // The mean of those that have a receipt, and of nobody else.
    double total = 0;
    std::vector<double> sum(parameters);
    for (const auto& [name, to] : trained_to) {
      Device& device = *fleet.devices.at(name);
      if (!device.has("receipt") || device.await<wire::Receipt>("receipt").status != wire::ReceiptStatus::accepted) {
        continue;
      }
      const auto weight = static_cast<double>(weight_of(name));
      total += weight;
      for (std::size_t i = 0; i < parameters; ++i) {
        sum[i] += weight * static_cast<double>(to[i]);
      }
    }
    const auto run = fleet.run();
    const std::vector<float> model = fleet.model(
        std::string(run.at("rounds").at(static_cast<std::size_t>(round) - 1).at("model_digest").as_string()));
    double worst = 0;
    for (std::size_t i = 0; i < parameters; ++i) {
      worst = std::max(worst, std::abs(sum[i] / total - static_cast<double>(model[i])));
    }
    CHECK(worst < 1e-6);
  }
}

TEST_CASE("grouped: after several rounds a cycle, the mean of the clusters' models, weighted by their samples") {
  static std::string undisturbed;
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed in the second rounds, and when one cluster has handed up its model") {
    crash = true;
  }
  Fleet fleet(spec_of(2, 2, by_site));
  fleet.initialise();
  std::map<char, std::vector<float>> local;
  for (const std::int64_t round : {1, 2, 3, 4}) {
    for (const char name : {'a', 'b', 'c', 'd'}) {
      local[name] = fleet.work(name, round);
      if (crash && round == 2 && (name == 'a' || name == 'b')) {
        fleet.crash();
      }
    }
    CHECK(fleet.bases[round].size() == (round % 2 == 1 ? 1 : 2));  // the global model, or each cluster's own
    CHECK(fleet.cycles[round] == (round + 1) / 2);
  }
  const std::string digest = fleet.finished();
  const std::vector<float> made = fleet.model(digest);
  for (std::size_t i = 0; i < parameters; i += 101) {
    const auto at = [&](char name) { return static_cast<long double>(local[name][i]); };
    const auto north = static_cast<float>((10 * at('a') + 20 * at('b')) / 30);
    const auto south = static_cast<float>((30 * at('c') + 40 * at('d')) / 70);
    const long double mean = (30 * static_cast<long double>(north) + 70 * static_cast<long double>(south)) / 100;
    REQUIRE(std::fabs(mean - made[i]) < 3e-8L);
  }
  undisturbed = undisturbed.empty() ? digest : undisturbed;
  CHECK(digest == undisturbed);
}

TEST_CASE("grouped: models of cycles and of clusters are measured apart, and each cluster has a state topic") {
  Fleet fleet(R"({"model":"m","data":"digits","cycles":2,"rounds":2,"min_fit":2,"clusters":"label:site",
                  "global":{"min_fit":2}})");
  Onlooker onlooker(fleet.coordinator, {"clusters/#"});
  fleet.initialise();
  for (const std::int64_t round : {1, 2, 3, 4}) {
    for (const char name : {'a', 'b', 'c', 'd'}) {
      const auto task = fleet.task_of(name, round);
      CHECK(task.evaluate == (round > 1));
      if (task.evaluate) {
        fleet.measure(name, task, round == 3 ? (name < 'c' ? 0.5 : 0.75) : 0.25);
      }
      (void)fleet.work(name, task);
    }
  }
  for (const char name : {'a', 'b', 'c', 'd'}) {
    auto task = fleet.devices.at(name)->await<wire::Task>("task");
    while (task.kind != wire::TaskKind::evaluate) {
      task = fleet.devices.at(name)->await<wire::Task>("task");
    }
    fleet.measure(name, task, name < 'c' ? 0.5 : 1);
    wire::ResultMessage done;
    done.ref = task.ref;
    fleet.devices.at(name)->send("result", wire::encode(done));
  }
  (void)fleet.finished();
  const auto run = fleet.run();
  const auto& north = run.at("clusters").at(0);
  const auto accuracy = [](const boost::json::value& of) { return of.at("accuracy").to_number<double>(); };
  CHECK(accuracy(run.at("rounds").at(0)) == doctest::Approx(0.625));
  CHECK(accuracy(run.at("rounds").at(1)) == doctest::Approx(0.75));
  CHECK(run.at("rounds").at(1).at("evaluated_samples").as_int64() == 40);
  CHECK(run.at("best").at("round").as_int64() == 2);
  CHECK(run.at("best").at("value").to_number<double>() == doctest::Approx(0.75));
  CHECK(run.at("best").at("model_digest") == run.at("model_digest"));
  CHECK(accuracy(north.at("rounds").at(0)) == 0.25);  // of its own, while it did its second round
  CHECK(north.at("rounds").at(1).at("accuracy").is_null());
  CHECK(accuracy(north) == 0.5);
  CHECK(north.at("measured_cycle").as_int64() == 2);
  CHECK(run_until(fleet.loop, [&] {
    const auto status = onlooker.retained().find("flops/v1/test/clusters/north/status");
    const auto known = status == onlooker.retained().end() ? fail(ErrorKind::permanent, "none")
                                                           : wire::decode<wire::ClusterStatus>(status->second);
    return known && known->state == "finished" && known->accuracy == 0.5 && known->bytes_up > 0;
  }));
}

TEST_CASE("grouped: a cluster that is late counts in the next cycle, by its step and with less weight") {
  static std::string undisturbed;
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed when the late cluster has one of its updates") {
    crash = true;
  }
  // The first cycle closes at its deadline, without the south.
  Fleet fleet(spec_of(2, 1, R"(,"clusters":"label:site","global":{"min_fit":1,"min_available":2,"max_staleness":1,
                               "deadline_seconds":10})"));
  fleet.initialise();
  const auto from_c = fleet.work('c', 1);
  const auto late = fleet.task_of('d', 1);
  (void)fleet.work('a', 1);
  (void)fleet.work('b', 1);
  const auto first = fleet.task_of('a', 2);
  const auto second = fleet.task_of('b', 2);
  const std::vector<float> initial = fleet.model(late.base.hex());
  const std::vector<float> base = fleet.model(first.base.hex());
  if (crash) {
    fleet.crash();
  }
  const auto from_a = fleet.work('a', first);
  const auto from_d = fleet.work('d', late);
  REQUIRE(fleet.await_cluster("south", "handed_up"));
  const auto from_b = fleet.work('b', second);
  const std::string digest = fleet.finished();
  const std::vector<float> made = fleet.model(digest);
  const long double late_weight = std::round(16.0L * 70 / std::sqrt(2.0L));
  for (std::size_t i = 0; i < parameters; i += 101) {
    const auto south =
        static_cast<float>((30 * static_cast<long double>(from_c[i]) + 40 * static_cast<long double>(from_d[i])) / 70);
    const long double north =
        160 * (static_cast<long double>(from_a[i]) - base[i]) + 320 * (static_cast<long double>(from_b[i]) - base[i]);
    const long double step =
        (north + late_weight * (static_cast<long double>(south) - initial[i])) / (480 + late_weight);
    REQUIRE(std::fabs(base[i] + step - made[i]) < 3e-8L);
  }
  CHECK(fleet.run().at("rounds").at(1).at("late").as_int64() == 1);
  undisturbed = undisturbed.empty() ? digest : undisturbed;
  CHECK(digest == undisturbed);
}

TEST_CASE("grouped: a cluster with too few devices is skipped, which is said, and joins when it has enough") {
  Fleet fleet(spec_of(2, 1, R"(,"clusters":"label:site","global":{"min_fit":1})"), "abc");
  fleet.initialise();
  REQUIRE(fleet.await_cluster("south", "skipped"));
  CHECK(fleet.cluster("south").at("reason").as_string() == "1 of 2 devices with the data 'digits' are online");
  (void)fleet.work('a', 1);
  fleet.add('d').join(fleet.token);
  REQUIRE(fleet.await_cluster("south", "waiting"));  // for the next cycle
  (void)fleet.work('b', 1);
  for (const char name : {'a', 'b', 'c', 'd'}) {
    (void)fleet.work(name, 2);
  }
  (void)fleet.finished();
  CHECK(fleet.run().at("rounds").at(1).at("participants").as_int64() == 2);
}
