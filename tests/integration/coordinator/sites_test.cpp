// Runs over sites: devices whose hello says that they are clusters, and what they hand up of the devices behind them.
#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flat_model.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/safetensors.hpp"
#include "onlooker.hpp"

using namespace flops;
using namespace flops::test;

namespace {

constexpr const char* north = "north";  // has the devices "a" and "b"
constexpr const char* south = "south";  // "c" and "d"

std::string devices_of(const std::string& site) {
  return site == north ? "ab" : "cd";
}

struct Offer {
  wire::ResultMessage result;
  std::string blob;
};

void with_blob(Offer& offer, std::string blob) {
  offer.blob = std::move(blob);
  offer.result.update = {crypto::sha256(offer.blob), offer.blob.size()};
}

std::string sum_of(const std::map<char, std::vector<float>>& updates, const std::vector<float>& base) {
  const tensor::Layout layout = test_layout();
  auto scales = tensor::choose_scales(layout, tensor::from_memory(base));
  auto sum = tensor::Accumulator::create(layout, *std::move(scales));
  REQUIRE(sum.has_value());
  for (const auto& [name, values] : updates) {
    const auto weight = static_cast<std::uint32_t>(weight_of(name));
    REQUIRE(sum->add(0, values, weight).has_value());
    sum->count(weight);
  }
  std::string blob;
  REQUIRE(sum->write([&blob](std::span<const std::byte> bytes) -> Result<> {
               blob.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
               return {};
             })
              .has_value());
  return blob;
}

struct Sites {
  explicit Sites(const std::string& spec, const std::string& more_devices = {}) : coordinator(loop) {
    for (const std::string name : {north, south}) {
      add(name).role(wire::Role::cluster);
    }
    join_all(everyone(), coordinator.site_token(2));
    token = coordinator.token(8);
    std::vector<Device*> others;
    for (const char name : more_devices) {
      others.push_back(&add(std::string(1, name)));
    }
    join_all(others, token);
    if (!spec.empty()) {
      coordinator.json("POST", "/v1/runs", spec);
    }
  }

  Device& add(const std::string& name) { return *(devices[name] = std::make_unique<Device>(coordinator, name)); }
  [[nodiscard]] std::vector<Device*> everyone() const {
    std::vector<Device*> all;
    for (const auto& [name, device] : devices) {
      all.push_back(device.get());
    }
    return all;
  }
  Device& operator[](const std::string& name) { return *devices.at(name); }
  void initialise() {
    const auto task = (*this)[north].await<wire::Task>("task");
    REQUIRE(task.kind == wire::TaskKind::init);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == 1);
    CHECK(task.codec == wire::lossless_codec);
    const std::string blob = encoded(values(0.1F, initial_seed));
    REQUIRE((*this)[north].upload((*this)[north].result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  }
  wire::Task task_of(const std::string& site, std::int64_t cycle, wire::TaskKind kind = wire::TaskKind::train) {
    while (true) {
      const auto task = (*this)[site].await<wire::Task>("task");
      if (task.ref.round == cycle && task.kind == kind) {
        return task;
      }
    }
  }
  // What its devices make of the task's only round.
  std::map<char, std::vector<float>> train(const std::string& site, const wire::Task& task) {
    REQUIRE(task.part.has_value());
    const std::vector<float> base = model(task.base.hex());
    std::map<char, std::vector<float>> made;
    for (const char name : devices_of(site)) {
      made[name] = trained(name, task.part->first_round, base);
    }
    return made;
  }
  Offer offer(const std::string& site, const wire::Task& task) {
    Offer made;
    made.blob = sum_of(train(site, task), model(task.base.hex()));
    std::uint64_t weight = 0;
    for (const char name : devices_of(site)) {
      weight += weight_of(name);
    }
    made.result = (*this)[site].result_for(task, made.blob, weight);
    made.result.codec = wire::sum_codec;
    made.result.steps = 7;
    return made;
  }
  wire::Receipt hand_up(const std::string& site, const Offer& offer) {
    return (*this)[site].upload(offer.result, offer.blob);
  }
  void work(const std::string& site, std::int64_t cycle) {
    const auto receipt = hand_up(site, offer(site, task_of(site, cycle)));
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
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
  [[nodiscard]] boost::json::value run(const std::string& id = "run-1") {
    return coordinator.json("GET", "/v1/runs/" + id);
  }
  [[nodiscard]] boost::json::value cluster(const std::string& name) {
    return coordinator.json("GET", "/v1/clusters/" + name);
  }
  [[nodiscard]] bool await_cluster(const std::string& name, const std::string& state) {
    return run_until(loop, [&] { return cluster(name).at("state").as_string() == state; });
  }
  [[nodiscard]] std::string finished() {
    REQUIRE_MESSAGE(run_until(loop, [&] { return run().at("state").as_string() == "finished"; }),
                    boost::json::serialize(run()) << coordinator.log());
    return std::string(run().at("model_digest").as_string());
  }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  std::string token;
  std::map<std::string, std::unique_ptr<Device>> devices;
};

std::string spec_of(int cycles, int rounds, const std::string& more) {
  return fmt::format(
      R"({{"model":"m","data":"digits","seed":5,"cycles":{},"rounds":{},"clusters":"sites","evaluate":false{}}})",
      cycles, rounds, more);
}
const std::string both = R"(,"global":{"min_fit":2})";

}  // namespace

TEST_CASE("sites: with one round a cycle, and killed wherever, the model has the digest of the flat run") {
  int crash_at = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed when a site has handed up, and in the middle of what the other one sends") {
    crash_at = 1;
  }
  SUBCASE("killed when all have, and the next model is made") {
    crash_at = 2;
  }
  SUBCASE("killed at each of them, in each cycle") {
    crash_at = 3;
  }
  Sites sites(spec_of(3, 1, both));
  sites.initialise();
  for (const std::int64_t cycle : {1, 2, 3}) {
    const bool crash = crash_at == 3 || cycle == 2;
    const auto task = sites.task_of(south, cycle);
    CHECK(task.ref.cycle == cycle);
    CHECK(task.codec == wire::sum_codec);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == cycle);
    const auto spec = boost::json::parse(task.part->spec).as_object();
    CHECK(spec.at("rounds").as_int64() == 1);
    CHECK(spec.at("seed").as_int64() == 5);
    CHECK_FALSE(spec.contains("clusters"));
    CHECK_FALSE(spec.contains("cycles"));
    sites.work(north, cycle);
    const Offer offer = sites.offer(south, task);
    if (crash && (crash_at == 1 || crash_at == 3)) {
      REQUIRE(sites.await_cluster(north, "handed_up"));
      sites[south].send("result", wire::encode(offer.result));
      const auto grant = sites[south].await<wire::Grant>("grant");
      sites[south].send_chunk(grant.blob, 0, offer.blob.substr(0, blob::chunk_size));
      sites.crash();
    }
    const auto receipt = sites.hand_up(south, offer);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
    if (crash && (crash_at == 2 || crash_at == 3)) {
      sites.crash();
    }
  }
  CHECK(sites.finished() == flat_model());
  const auto run = sites.run();
  REQUIRE(run.at("rounds").as_array().size() == 3);
  CHECK(run.at("rounds").at(1).at("participants").as_int64() == 2);
  CHECK(run.at("cycle").as_int64() == 3);
  REQUIRE(run.at("clusters").as_array().size() == 2);
  CHECK(run.at("clusters").at(0).at("cluster").as_string() == north);
  CHECK(run.at("clusters").at(0).at("state").as_string() == "finished");
  CHECK(run.at("levels").at(0).at("bytes_up").as_int64() == 0);
  CHECK(run.at("levels").at(1).at("bytes_up").as_int64() == run.at("bytes_up").as_int64());
  CHECK(run.at("clusters").at(0).at("bytes_up").as_int64() + run.at("clusters").at(1).at("bytes_up").as_int64() ==
        run.at("bytes_up").as_int64());
  CHECK(run.at("spec").at("clusters").as_string() == "sites");
  CHECK(sites.coordinator.json("GET", "/v1/devices/north").at("role").as_string() == "cluster");
  CHECK(sites.coordinator.stop() == 0);
}

TEST_CASE("sites: a site may send its model instead of its sum") {
  Sites sites(spec_of(1, 1, both));
  sites.initialise();
  const auto task = sites.task_of(north, 1);
  const std::vector<float> base = sites.model(task.base.hex());
  const auto local = trained('a', 1, base);
  const std::string blob = encoded(local, base);
  const auto result = sites[north].result_for(task, blob, 1'000'000);  // more than a device may have
  const auto receipt = sites[north].upload(result, blob);
  REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
  const auto of_south = sites.task_of(south, 1);
  const auto updates = sites.train(south, of_south);
  REQUIRE(sites.hand_up(south, sites.offer(south, of_south)).status == wire::ReceiptStatus::accepted);
  const std::vector<float> made = sites.model(sites.finished());
  for (std::size_t i = 0; i < parameters; i += 101) {
    const long double sum = 1'000'000 * static_cast<long double>(local[i]) +
                            30 * static_cast<long double>(updates.at('c')[i]) +
                            40 * static_cast<long double>(updates.at('d')[i]);
    REQUIRE(std::fabs(sum / 1'000'070 - made[i]) < 3e-8L);
  }
}

TEST_CASE("sites: after several rounds a cycle, the mean of the sites' models, weighted by their samples") {
  static std::string undisturbed;
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed when one site has handed up its model") {
    crash = true;
  }
  Sites sites(spec_of(2, 3, both));
  sites.initialise();
  std::map<std::string, std::vector<float>> local;
  for (const std::int64_t cycle : {1, 2}) {
    for (const std::string site : {north, south}) {
      const auto task = sites.task_of(site, cycle);
      CHECK(task.codec == wire::lossless_codec);
      CHECK(task.part->first_round == 3 * cycle - 2);
      CHECK(boost::json::parse(task.part->spec).at("rounds").as_int64() == 3);
      const std::vector<float> base = sites.model(task.base.hex());
      local[site] = trained(devices_of(site).front(), cycle, base);
      const std::string blob = encoded(local[site], base);
      const auto receipt = sites[site].upload(sites[site].result_for(task, blob, site == north ? 30 : 70), blob);
      REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
      if (crash && site == north) {
        sites.crash();
      }
    }
  }
  const std::string digest = sites.finished();
  const std::vector<float> made = sites.model(digest);
  for (std::size_t i = 0; i < parameters; i += 101) {
    const long double mean =
        (30 * static_cast<long double>(local[north][i]) + 70 * static_cast<long double>(local[south][i])) / 100;
    REQUIRE(std::fabs(mean - made[i]) < 3e-8L);
  }
  undisturbed = undisturbed.empty() ? digest : undisturbed;
  CHECK(digest == undisturbed);
}

TEST_CASE("sites: a sum that is late counts in the next cycle, with the step of its mean and less weight") {
  static std::string undisturbed;
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed when the late sum is counted") {
    crash = true;
  }
  // The first cycle closes at its deadline, without the south.
  Sites sites(spec_of(2, 1, R"(,"global":{"min_fit":1,"min_available":2,"max_staleness":1,"deadline_seconds":10})"));
  sites.initialise();
  const auto late = sites.task_of(south, 1);
  CHECK(boost::json::parse(late.part->spec).at("max_staleness").as_int64() == 0);
  const std::vector<float> initial = sites.model(late.base.hex());
  const auto of_south = sites.train(south, late);
  sites.work(north, 1);
  const auto second = sites.task_of(north, 2);
  const std::vector<float> base = sites.model(second.base.hex());
  const auto of_north = sites.train(north, second);
  REQUIRE(sites.hand_up(south, sites.offer(south, late)).status == wire::ReceiptStatus::accepted);
  if (crash) {
    sites.crash();
    // Counted: it is offered again because the receipt was lost, say.
    const auto again = sites.hand_up(south, sites.offer(south, late));
    CHECK(again.status == wire::ReceiptStatus::duplicate);
  }
  REQUIRE(sites.hand_up(north, sites.offer(north, second)).status == wire::ReceiptStatus::accepted);
  const std::string digest = sites.finished();
  const std::vector<float> made = sites.model(digest);
  const long double late_weight = std::round(16.0L * 70 / std::sqrt(2.0L));
  for (std::size_t i = 0; i < parameters; i += 101) {
    const auto mean = static_cast<float>(
        (30 * static_cast<long double>(of_south.at('c')[i]) + 40 * static_cast<long double>(of_south.at('d')[i])) / 70);
    const long double punctual = 160 * (static_cast<long double>(of_north.at('a')[i]) - base[i]) +
                                 320 * (static_cast<long double>(of_north.at('b')[i]) - base[i]);
    const long double step =
        (punctual + late_weight * (static_cast<long double>(mean) - initial[i])) / (480 + late_weight);
    REQUIRE(std::fabs(base[i] + step - made[i]) < 3e-8L);
  }
  CHECK(sites.run().at("rounds").at(1).at("late").as_int64() == 1);
  undisturbed = undisturbed.empty() ? digest : undisturbed;
  CHECK(digest == undisturbed);
}

TEST_CASE("sites: hostile sums are refused with the reason and leave no trace in the model") {
  struct Row {
    const char* name;
    std::function<void(Offer&)> spoil;
    const char* says;
  };
  const auto at = [](std::size_t where, char value) {
    return [=](Offer& o) {
      std::string blob = o.blob;
      blob[where] = value;
      with_blob(o, std::move(blob));
    };
  };
  const std::vector<Row> rows{
      {"parameters that claim to be a sum", [](Offer& o) { with_blob(o, encoded(values(0.1F, 3))); }, "magic"},
      {"a sum that claims to be parameters", [](Offer& o) { o.result.codec = wire::lossless_codec; }, ""},
      {"another codec", [](Offer& o) { o.result.codec = "zip"; }, "codec 'zip'"},
      {"another layout", at(12, 'x'), "another layout"},
      {"another layout is said", [](Offer& o) { o.result.layout = crypto::sha256("x"); }, "layout"},
      {"another base is said", [](Offer& o) { o.result.base = crypto::sha256("x"); }, "base"},
      {"scales of another base", at(56, 99), "other scales"},
      {"more weight is said", [](Offer& o) { o.result.weight += 1; }, "its sender said 71"},
      {"no weight", [](Offer& o) { o.result.weight = 0; }, "weight 0"},
      {"too much weight for any sum", [](Offer& o) { o.result.weight = 1ULL << 31U; }, "weight 2147483648"},
      {"sums too large for the weight",
       [](Offer& o) {
         std::string blob = sum_of({{'c', std::vector<float>(parameters, 15.5F)}}, std::vector<float>(parameters));
         blob[40] = 1;
         blob[56] = o.blob[56];  // the scale of the cycle's base
         with_blob(o, std::move(blob));
         o.result.weight = 1;
       },
       "allows"},
      {"a size that no sum has", [](Offer& o) { o.result.update.size = 1ULL << 30U; }, "never produces more"},
      {"truncated", [](Offer& o) { with_blob(o, o.blob.substr(0, o.blob.size() - 100)); }, ""},
      {"more behind it", [](Offer& o) { with_blob(o, o.blob + "x"); }, "follow"},
      {"a bomb", [](Offer& o) { with_blob(o, encoded(std::vector<float>(30'000'000, 0.0F))); }, "magic"},
  };
  const std::string spec =
      spec_of(static_cast<int>(rows.size()) + 1, 1, R"(,"global":{"min_fit":1,"min_available":2})");
  Sites sites(spec);
  sites.initialise();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const auto cycle = static_cast<std::int64_t>(i + 1);
    CAPTURE(row.name);
    Offer bad = sites.offer(south, sites.task_of(south, cycle));
    const auto task = sites.task_of(north, cycle);
    row.spoil(bad);
    const auto refused = sites.hand_up(south, bad);
    CHECK(refused.status == wire::ReceiptStatus::rejected);
    CHECK_MESSAGE(refused.reason.find(row.says) != std::string::npos, refused.reason);
    const Offer good = sites.offer(north, task);
    REQUIRE(sites.hand_up(north, good).status == wire::ReceiptStatus::accepted);
    // A cycle with one good sum: its model is the mean of "a" and "b".
    const auto next = sites.task_of(north, cycle + 1);
    const auto made = sites.model(next.base.hex());
    const auto updates = sites.train(north, task);
    for (std::size_t k = 0; k < parameters; k += 5003) {
      const long double mean =
          (10 * static_cast<long double>(updates.at('a')[k]) + 20 * static_cast<long double>(updates.at('b')[k])) / 30;
      REQUIRE(std::fabs(mean - made[k]) < 3e-8L);
    }
    sites[north].say_hello();  // its task comes again
  }
  CHECK(sites.run().at("rounds").at(0).at("rejected").as_int64() == 1);
}

TEST_CASE("sites: sites and devices are never asked for each other's work") {
  Sites sites(spec_of(1, 1, both), "ab");
  sites.coordinator.json("POST", "/v1/runs",
                         R"({"model":"m","data":"digits","rounds":1,"min_fit":2,"evaluate":false})");
  sites.initialise();
  sites.work(north, 1);
  sites.work(south, 1);
  (void)sites.finished();
  const auto init = sites["a"].await<wire::Task>("task");  // of the second run, the first that it is asked for
  CHECK(init.ref.run.str() == "run-2");
  CHECK_FALSE(init.part.has_value());
  const std::string initial = encoded(values(0.1F, initial_seed));
  REQUIRE(sites["a"].upload(sites["a"].result_for(init, initial), initial).status == wire::ReceiptStatus::accepted);
  for (const std::string name : {"a", "b"}) {
    const auto task = sites.task_of(name, 1);
    CHECK(task.ref.run.str() == "run-2");
    CHECK(task.codec == wire::lossless_codec);
    if (name == "a") {
      const std::string sum = sum_of({{'a', sites.model(task.base.hex())}}, sites.model(task.base.hex()));
      auto result = sites["a"].result_for(task, sum, 10);
      result.codec = wire::sum_codec;
      const auto refused = sites["a"].upload(result, sum);
      CHECK(refused.status == wire::ReceiptStatus::rejected);
      CHECK_MESSAGE(refused.reason.find("codec 'sum'") != std::string::npos, refused.reason);
    }
  }
  for (const std::string name : {north, south}) {
    while (sites[name].has("task")) {
      CHECK(sites[name].await<wire::Task>("task").ref.run.str() == "run-1");  // one that was repeated
    }
  }
}

TEST_CASE("sites: one that says it is a device now, or is not online, is not counted on") {
  Sites sites(spec_of(1, 1, R"(,"global":{"min_fit":1,"min_available":2})"));
  sites.initialise();
  (void)sites.task_of(south, 1);
  sites[south].role(wire::Role::device);
  sites[south].say_hello();
  REQUIRE(sites.await_cluster(south, "failed"));
  CHECK(sites.cluster(south).at("reason").as_string().find("none any more") != std::string::npos);
  sites.work(north, 1);
  (void)sites.finished();
  CHECK(sites.run().at("rounds").at(0).at("participants").as_int64() == 1);
}

TEST_CASE("sites: models are measured by sites, each with the spread of its devices, and have a state topic") {
  Sites sites(R"({"model":"m","data":"digits","cycles":2,"rounds":1,"clusters":"sites","global":{"min_fit":2}})");
  Onlooker onlooker(sites.coordinator, {"clusters/#"});
  sites.initialise();
  const auto measure = [&](const std::string& site, const wire::Task& task, double accuracy) {
    wire::Metrics metrics;
    metrics.ref = task.ref;
    metrics.model = task.base;
    metrics.samples = site == north ? 10 : 30;
    metrics.accuracy = accuracy;
    metrics.spread = wire::Spread{accuracy - 0.25, accuracy + 0.125, 2};
    sites[site].send("metrics", wire::encode(metrics));
  };
  for (const std::int64_t cycle : {1, 2}) {
    for (const std::string site : {north, south}) {
      const auto task = sites.task_of(site, cycle);
      CHECK(task.evaluate == (cycle > 1));
      if (task.evaluate) {
        measure(site, task, site == north ? 0.25 : 0.75);
      }
      REQUIRE(sites.hand_up(site, sites.offer(site, task)).status == wire::ReceiptStatus::accepted);
    }
  }
  for (const std::string site : {north, south}) {
    const auto task = sites.task_of(site, 2, wire::TaskKind::evaluate);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == 2);
    measure(site, task, site == north ? 0.5 : 0.875);
    wire::ResultMessage done;
    done.ref = task.ref;
    sites[site].send("result", wire::encode(done));
  }
  (void)sites.finished();
  const auto run = sites.run();
  const auto number = [](const boost::json::value& of, const char* name) { return of.at(name).to_number<double>(); };
  const auto& first = run.at("rounds").at(0);
  CHECK(number(first, "accuracy") == doctest::Approx(0.625));
  CHECK(number(first, "accuracy_min") == 0);
  CHECK(number(first, "accuracy_max") == 0.875);
  CHECK(number(run.at("rounds").at(1), "accuracy_max") == 1);
  const auto& of_north = run.at("clusters").at(0);
  CHECK(number(of_north, "accuracy") == 0.5);
  CHECK(number(of_north, "accuracy_min") == 0.25);
  CHECK(number(of_north, "accuracy_max") == 0.625);
  CHECK(of_north.at("evaluated_devices").as_int64() == 2);
  CHECK(of_north.at("measured_cycle").as_int64() == 2);
  CHECK(run_until(sites.loop, [&] {
    const auto status = onlooker.retained().find("flops/v1/test/clusters/north/status");
    const auto known = status == onlooker.retained().end() ? fail(ErrorKind::permanent, "none")
                                                           : wire::decode<wire::ClusterStatus>(status->second);
    return known && known->state == "finished" && known->accuracy == 0.5 && known->bytes_up > 0;
  }));
}
