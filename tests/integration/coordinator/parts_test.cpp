// Parts of another coordinator's run: asked for, done, fetched, forgotten, over crashes.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/rounds/run_machine.hpp"
#include "flops/tensor/accumulator.hpp"
#include "flops/tensor/safetensors.hpp"
#include "pair.hpp"

using namespace flops;
using namespace flops::test;

namespace {

using boost::json::value;

constexpr const char* one_round = R"({"model":"m","data":"digits","rounds":1,"min_fit":2,"seed":9})";
constexpr const char* two_rounds = R"({"model":"m","data":"digits","rounds":2,"min_fit":2,"seed":9})";

std::string digest_of(const std::vector<float>& model) {
  return tensor::model_digest(test_layout(), tensor::from_memory(model)).value().hex();
}

// The file of a model.
std::string file_of(const std::vector<float>& model) {
  const TemporaryFolder folder;
  const auto file = folder / "model";
  REQUIRE(tensor::write_safetensors(file, test_layout(), {{"format", "flops-edge"}}, tensor::from_memory(model)));
  return read_file(file, 8U << 20U).value();
}

using Weighted = std::vector<std::pair<std::vector<float>, std::uint32_t>>;

tensor::Accumulator sum_of(const std::vector<float>& base, const Weighted& updates) {
  const auto scales = tensor::choose_scales(test_layout(), tensor::from_memory(base)).value();
  auto sum = tensor::Accumulator::create(test_layout(), scales).value();
  for (const auto& [values, weight] : updates) {
    REQUIRE(sum.add(0, values, weight));
    sum.count(weight);
  }
  return sum;
}

std::string bytes_of(const tensor::Accumulator& sum) {
  std::string bytes;
  REQUIRE(sum.write([&](std::span<const std::byte> piece) -> Result<> {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return {};
  }));
  return bytes;
}

std::vector<float> mean_of(const std::vector<float>& base, const Weighted& updates) {
  std::vector<float> mean(parameters);
  REQUIRE(sum_of(base, updates).mean(tensor::to_memory(mean)));
  return mean;
}

// A coordinator with two devices, or sites, and the model that parts begin with.
struct Site {
  explicit Site(bool with_b = true, wire::Role role = wire::Role::device)
      : coordinator(loop), a(coordinator, "a"), b(coordinator, "b") {
    std::vector<Device*> devices{&a};
    if (with_b) {
      devices.push_back(&b);
    }
    for (Device* device : devices) {
      device->role(role);
    }
    join_all(devices, role == wire::Role::cluster ? coordinator.site_token(2) : coordinator.token(2));
  }

  int put(const std::vector<float>& model) {
    return coordinator.api("PUT", "/v1/models/" + digest_of(model), file_of(model)).status;
  }
  // With a base that is put first.
  http::ClientResponse ask(const std::string& key, const std::string& kind, const std::string& spec,
                           const std::string& more = "") {
    std::string body = R"({"v":1,"key":")" + key + R"(","kind":")" + kind + R"(","spec":)" + spec;
    if (kind != "init") {
      body += R"(,"base":")" + digest_of(base) + '"';
    }
    return coordinator.api("POST", "/v1/parts", body + more + "}");
  }
  // The run's name.
  std::string run_of(const http::ClientResponse& answer, int status) {
    REQUIRE_MESSAGE(answer.status == status, answer.status << " " << answer.body);
    return std::string(boost::json::parse(answer.body).at("run").as_string());
  }
  value part(const std::string& key) { return coordinator.json("GET", "/v1/parts/" + key); }
  value await(const std::string& key, const std::string& state) {
    const bool there = run_until(loop, [&] { return part(key).at("state").as_string() == state; });
    REQUIRE_MESSAGE(there, boost::json::serialize(part(key)) << "\n" << coordinator.log());
    return part(key);
  }
  static wire::Task task_of(Device& device, wire::TaskKind kind, std::int64_t round) {
    while (true) {
      const auto task = device.await<wire::Task>("task");
      if (task.kind == kind && task.ref.round == round) {
        return task;
      }
    }
  }
  static std::vector<float> trained(const Device& device, std::int64_t round) {
    return values(0.1F, static_cast<unsigned>(device.id().str()[0]) * 100U + static_cast<unsigned>(round));
  }
  // Trains: from `from`, the base of its task.
  std::vector<float> work(Device& device, std::int64_t round, const std::vector<float>& from, std::uint32_t weight) {
    const auto task = task_of(device, wire::TaskKind::train, round);
    CHECK(task.base.hex() == digest_of(from));
    CHECK(task.seed == rounds::task_seed(9, round, device.id()));
    std::vector<float> to = trained(device, round);
    const std::string blob = encoded(to, from);
    auto result = device.result_for(task, blob, weight);
    result.steps = 7;
    result.train_loss = weight == 30 ? 1 : 2;
    const auto receipt = device.upload(result, blob);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
    return to;
  }
  static void measure(Device& device, const wire::Task& task, std::uint64_t samples, double accuracy) {
    wire::Metrics metrics;
    metrics.ref = task.ref;
    metrics.model = task.base;
    metrics.samples = samples;
    metrics.accuracy = accuracy;
    metrics.loss = 1 - accuracy;
    device.send("metrics", wire::encode(metrics));
  }
  void kill_and_start() {
    a.drop();
    b.drop();
    coordinator.kill();
    coordinator.start();
  }
  void crash() {
    kill_and_start();
    connect_all({&a, &b});
  }
  [[nodiscard]] bool has_model(const std::vector<float>& model) const {
    return std::filesystem::exists(coordinator.state() / "models" / (digest_of(model) + ".safetensors"));
  }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  Device a, b;
  std::vector<float> base = values(0.1F, 1);
};

void crash_if(bool wanted, Site& site) {
  if (wanted) {
    site.crash();
  }
}

}  // namespace

TEST_CASE("parts: after one round the exact sum of the devices' updates, whatever is killed on the way") {
  int crash = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed before the first update") {
    crash = 1;
  }
  SUBCASE("killed between the updates") {
    crash = 2;
  }
  SUBCASE("killed when it is finished") {
    crash = 3;
  }
  Site site;
  const std::string more = R"(,"first_round":1,"sum":true)";
  CHECK(site.ask("run-1.r1.ab", "train", one_round, more).status == 404);  // the base has to be put first
  CHECK(site.put(site.base) == 201);
  CHECK(site.put(site.base) == 200);
  const std::string run = site.run_of(site.ask("run-1.r1.ab", "train", one_round, more), 201);
  CHECK(run == "run-1");
  CHECK(site.run_of(site.ask("run-1.r1.ab", "train", one_round, more), 200) == run);
  CHECK(site.coordinator.api("GET", "/v1/parts/run-1.r1.ab/sum").status == 404);
  crash_if(crash == 1, site);
  Weighted updates;
  updates.emplace_back(site.work(site.a, 1, site.base, 30), 30);
  crash_if(crash == 2, site);
  CHECK(site.run_of(site.ask("run-1.r1.ab", "train", one_round, more), 200) == run);
  updates.emplace_back(site.work(site.b, 1, site.base, 70), 70);
  (void)site.await("run-1.r1.ab", "finished");
  crash_if(crash == 3, site);

  const value part = site.part("run-1.r1.ab");
  CHECK(part.at("run").as_string() == run);
  CHECK(part.at("kind").as_string() == "train");
  const value& result = part.at("result");
  CHECK(result.at("model").as_string() == digest_of(mean_of(site.base, updates)));
  CHECK(result.at("sum").as_bool());
  CHECK(result.at("weight").as_int64() == 100);
  CHECK(result.at("steps").as_int64() == 7);
  CHECK(result.at("train_loss").to_number<double>() == doctest::Approx(1.7));
  CHECK(result.at("layout").is_null());
  CHECK(result.at("metrics").is_null());  // nobody measures the first model
  const auto sum = site.coordinator.api("GET", "/v1/parts/run-1.r1.ab/sum");
  CHECK(sum.status == 200);
  CHECK(sum.content_type == "application/octet-stream");
  CHECK(sum.body.size() == result.at("sum_bytes").to_number<std::size_t>());
  CHECK(crypto::sha256(sum.body) == crypto::sha256(bytes_of(sum_of(site.base, updates))));
  // As the asker reads it.
  const TemporaryFolder folder;
  REQUIRE(replace_file(folder / "sum", sum.body));
  const Fd fd(::open((folder / "sum").c_str(), O_RDONLY | O_CLOEXEC));
  const auto scales = tensor::choose_scales(test_layout(), tensor::from_memory(site.base)).value();
  const auto read = tensor::Accumulator::read(test_layout(), scales, sum.body.size(),
                                              tensor::bytes_of_file(fd.get(), sum.body.size()));
  REQUIRE_MESSAGE(read.has_value(), read.error().what);
  CHECK(read->total_weight() == 100);
  CHECK(site.run_of(site.ask("run-1.r1.ab", "train", one_round, more), 200) == run);
  CHECK(site.coordinator.stop() == 0);
}

TEST_CASE("parts: after several rounds the model, with the samples of the last one") {
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed in the second round") {
    crash = true;
  }
  Site site;
  CHECK(site.put(site.base) == 201);
  (void)site.run_of(site.ask("k", "train", two_rounds, R"(,"first_round":7)"), 201);
  Weighted seventh, eighth;
  const auto measuring = Site::task_of(site.a, wire::TaskKind::train, 7);
  CHECK(measuring.evaluate);
  CHECK(measuring.ref.cycle == 4);
  Site::measure(site.a, measuring, 10, 0.5);
  site.a.say_hello();  // the task again
  seventh.emplace_back(site.work(site.a, 7, site.base, 30), 30);
  CHECK(site.part("k").at("state").as_string() == "working");
  CHECK(site.part("k").at("round").as_int64() == 7);
  CHECK(site.part("k").at("rounds").as_int64() == 2);
  CHECK(site.part("k").at("participants").as_int64() == 2);
  CHECK(site.part("k").at("result").is_null());
  seventh.emplace_back(site.work(site.b, 7, site.base, 70), 70);
  const std::vector<float> between = mean_of(site.base, seventh);
  eighth.emplace_back(site.work(site.b, 8, between, 30), 30);
  crash_if(crash, site);
  eighth.emplace_back(site.work(site.a, 8, between, 20), 20);
  const std::vector<float> last = mean_of(between, eighth);

  const value part = site.await("k", "finished");
  const value& result = part.at("result");
  CHECK(result.at("model").as_string() == digest_of(last));
  CHECK_FALSE(result.at("sum").as_bool());
  CHECK(result.at("sum_bytes").as_int64() == 0);
  CHECK(result.at("weight").as_int64() == 50);
  const value& metrics = result.at("metrics");  // of the base
  CHECK(metrics.at("accuracy").to_number<double>() == 0.5);
  CHECK(metrics.at("devices").as_int64() == 1);
  CHECK(metrics.at("samples").as_int64() == 10);
  const auto model = site.coordinator.api("GET", "/v1/models/" + digest_of(last));
  CHECK(model.status == 200);
  CHECK(crypto::sha256(model.body) == crypto::sha256(file_of(last)));
  CHECK(site.coordinator.api("GET", "/v1/parts/k/sum").status == 404);

  const value run = site.coordinator.json("GET", "/v1/runs/run-1");
  CHECK(run.at("origin").as_string() == "k");
  CHECK(run.at("part").as_string() == "train");
  CHECK(run.at("round").as_int64() == 8);
  CHECK(run.at("rounds_total").as_int64() == 8);
  REQUIRE(run.at("rounds").as_array().size() == 3);
  CHECK(run.at("rounds").at(0).at("round").as_int64() == 6);
  CHECK(run.at("rounds").at(0).at("accuracy").to_number<double>() == 0.5);
}

TEST_CASE("parts: a coordinator of sites has them do it, and hands up the sum of their sums, whatever is killed") {
  int crash = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed between the sums") {
    crash = 1;
  }
  SUBCASE("killed when it is finished") {
    crash = 2;
  }
  Site site(true, wire::Role::cluster);
  Device device(site.coordinator, "c");  // its data are not those of the sites' part
  device.join(site.coordinator.token());
  CHECK(site.put(site.base) == 201);
  const std::string more = R"(,"first_round":3,"sum":true)";
  const std::string run = site.run_of(site.ask("k", "train", one_round, more), 201);
  Weighted updates;
  for (Device* below : {&site.a, &site.b}) {
    const auto task = Site::task_of(*below, wire::TaskKind::train, 3);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == 3);
    CHECK(task.codec == wire::sum_codec);
    CHECK(task.seed == 9);
    const auto spec = boost::json::parse(task.part->spec).as_object();
    CHECK(spec.at("rounds").as_int64() == 1);
    CHECK(spec.at("min_fit").as_int64() == 2);
    CHECK_FALSE(spec.contains("clusters"));
    const auto seed = static_cast<unsigned>(updates.size());
    const Weighted its{{values(0.1F, 50 + seed), 10}, {values(0.1F, 60 + seed), 20}};
    updates.insert(updates.end(), its.begin(), its.end());
    const std::string blob = bytes_of(sum_of(site.base, its));
    auto result = below->result_for(task, blob, 30);
    result.codec = wire::sum_codec;
    result.steps = 7;
    const auto receipt = below->upload(result, blob);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
    crash_if(crash == 1 && below == &site.a, site);
  }
  (void)site.await("k", "finished");
  crash_if(crash == 2, site);
  CHECK(site.run_of(site.ask("k", "train", one_round, more), 200) == run);
  const value part = site.part("k");
  CHECK(part.at("first_round").as_int64() == 3);
  const value& result = part.at("result");
  CHECK(result.at("model").as_string() == digest_of(mean_of(site.base, updates)));
  CHECK(result.at("weight").as_int64() == 60);
  CHECK(result.at("steps").as_int64() == 7);
  CHECK(site.coordinator.api("GET", "/v1/parts/k/sum").body == bytes_of(sum_of(site.base, updates)));
  CHECK_FALSE(device.has("task"));
}

TEST_CASE(
    "parts: several rounds are those of the sites below, whose models are averaged, and whose figures summed up") {
  Site site(true, wire::Role::cluster);
  CHECK(site.put(site.base) == 201);
  CHECK(site.ask("odd", "train", two_rounds, R"(,"first_round":2)").status == 422);  // in the middle of a cycle
  (void)site.run_of(site.ask("k", "train", two_rounds, R"(,"first_round":3)"), 201);
  Weighted models;
  for (Device* below : {&site.a, &site.b}) {
    const auto task = Site::task_of(*below, wire::TaskKind::train, 2);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == 3);
    CHECK(task.codec == wire::lossless_codec);
    CHECK(task.evaluate);
    wire::Metrics metrics;
    metrics.ref = task.ref;
    metrics.model = task.base;
    metrics.samples = 10;
    metrics.accuracy = below == &site.a ? 0.5 : 0.75;
    metrics.loss = 1;
    metrics.spread = wire::Spread{metrics.accuracy - 0.25, metrics.accuracy + 0.25, 3};
    below->send("metrics", wire::encode(metrics));
    models.emplace_back(values(0.1F, 70 + static_cast<unsigned>(models.size())), 40 + 20 * models.size());
    const std::string blob = encoded(models.back().first, site.base);
    const auto receipt = below->upload(below->result_for(task, blob, models.back().second), blob);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
  }
  const value part = site.await("k", "finished");
  CHECK(part.at("first_round").as_int64() == 3);
  CHECK(part.at("rounds").as_int64() == 2);
  const value& result = part.at("result");
  CHECK(result.at("model").as_string() == digest_of(mean_of(site.base, models)));
  CHECK(result.at("weight").as_int64() == 100);
  CHECK_FALSE(result.at("sum").as_bool());
  const value& metrics = result.at("metrics");
  CHECK(metrics.at("devices").as_int64() == 6);
  CHECK(metrics.at("samples").as_int64() == 20);
  CHECK(metrics.at("accuracy").to_number<double>() == 0.625);
  CHECK(metrics.at("accuracy_min").to_number<double>() == 0.25);
  CHECK(metrics.at("accuracy_max").to_number<double>() == 1);

  // The first model, and a measurement, are passed on as well.
  (void)site.run_of(site.ask("first", "init", two_rounds), 201);
  const auto init = Site::task_of(site.a, wire::TaskKind::init, 0);
  REQUIRE(init.part.has_value());
  const std::string blob = encoded(site.base);
  REQUIRE(site.a.upload(site.a.result_for(init, blob), blob).status == wire::ReceiptStatus::accepted);
  CHECK(site.await("first", "finished").at("result").at("model").as_string() == digest_of(site.base));
  (void)site.run_of(site.ask("last", "evaluate", two_rounds, R"(,"first_round":3)"), 201);
  for (Device* below : {&site.a, &site.b}) {
    const auto task = Site::task_of(*below, wire::TaskKind::evaluate, 2);
    REQUIRE(task.part.has_value());
    CHECK(task.part->first_round == 3);
    Site::measure(*below, task, 10, 0.5);
    wire::ResultMessage done;
    done.ref = task.ref;
    below->send("result", wire::encode(done));
  }
  CHECK(site.await("last", "finished").at("result").at("metrics").at("samples").as_int64() == 20);
}

TEST_CASE("parts: of sites that are away one says so and fails") {
  Site site(false, wire::Role::cluster);
  site.a.drop();
  REQUIRE(run_until(site.loop, [&] { return !site.coordinator.json("GET", "/v1/devices/a").at("online").as_bool(); }));
  CHECK(site.put(site.base) == 201);
  (void)site.run_of(site.ask("k", "train", one_round), 201);
  const value part = site.await("k", "failed");
  CHECK(part.at("reason").as_string() == "0 of 1 sites with the data 'digits' are online");
}

TEST_CASE("parts: the first model, and a measurement") {
  Site site;
  (void)site.run_of(site.ask("first", "init", two_rounds), 201);
  const auto init = site.a.await<wire::Task>("task");
  REQUIRE(init.kind == wire::TaskKind::init);
  CHECK(init.seed == 9);
  const std::string blob = encoded(site.base);
  REQUIRE(site.a.upload(site.a.result_for(init, blob), blob).status == wire::ReceiptStatus::accepted);
  const value first = site.await("first", "finished");
  CHECK(first.at("result").at("model").as_string() == digest_of(site.base));
  CHECK(first.at("result").at("layout").as_string() == test_layout().canonical());
  CHECK(first.at("result").at("metrics").is_null());

  // The model is there already.
  (void)site.run_of(site.ask("last", "evaluate", two_rounds, R"(,"first_round":7)"), 201);
  int device_number = 0;
  for (Device* device : {&site.a, &site.b}) {
    const auto task = Site::task_of(*device, wire::TaskKind::evaluate, 8);
    CHECK(task.base.hex() == digest_of(site.base));
    ++device_number;
    Site::measure(*device, task, device_number == 1 ? 10 : 30, device_number == 1 ? 0.5 : 1);
    wire::ResultMessage done;
    done.ref = task.ref;
    device->send("result", wire::encode(done));
  }
  const value last = site.await("last", "finished");
  CHECK(last.at("result").at("model").is_null());
  CHECK(last.at("result").at("weight").as_int64() == 0);
  const value& metrics = last.at("result").at("metrics");
  CHECK(metrics.at("accuracy").to_number<double>() == 0.875);
  CHECK(metrics.at("accuracy_min").to_number<double>() == 0.5);
  CHECK(metrics.at("accuracy_max").to_number<double>() == 1);
  CHECK(metrics.at("loss").to_number<double>() == 0.125);
  CHECK(metrics.at("samples").as_int64() == 40);
  CHECK(metrics.at("devices").as_int64() == 2);
}

TEST_CASE("parts: with too few devices it fails at once, and says why") {
  Site site(false);
  CHECK(site.put(site.base) == 201);
  for (const char* kind : {"train", "evaluate"}) {
    (void)site.run_of(site.ask(kind, kind, one_round), 201);
    const value part = site.part(kind);
    CHECK(part.at("state").as_string() == "failed");
    CHECK(part.at("reason").as_string() == "1 of 2 devices with the data 'digits' are online");
    CHECK(part.at("result").is_null());
  }
  (void)site.run_of(site.ask("elsewhere", "init", R"({"model":"m","data":"faces"})"), 201);
  CHECK(site.part("elsewhere").at("state").as_string() == "failed");
  (void)site.run_of(site.ask("init", "init", one_round), 201);  // for that one device is enough
  CHECK(site.part("init").at("state").as_string() == "working");
}

TEST_CASE("parts: they are done one after another, and after a restart the next one waits for its devices") {
  Site site;
  CHECK(site.put(site.base) == 201);
  (void)site.run_of(site.ask("one", "train", one_round), 201);
  (void)site.run_of(site.ask("two", "train", one_round, R"(,"first_round":2)"), 201);
  CHECK(site.part("two").at("state").as_string() == "queued");
  CHECK(site.part("two").at("reason").as_string() == "waits for run-1");
  const value list = site.coordinator.json("GET", "/v1/parts");
  REQUIRE(list.at("parts").as_array().size() == 2);
  CHECK(list.at("parts").at(1).at("key").as_string() == "two");
  site.kill_and_start();
  CHECK(site.coordinator.api("DELETE", "/v1/parts/one").status == 204);
  CHECK(site.part("two").at("state").as_string() == "queued");
  CHECK(site.part("two").at("reason").as_string() == "0 of 2 devices with the data 'digits' are online");
  connect_all({&site.a, &site.b});
  (void)site.work(site.a, 2, site.base, 30);
  (void)site.work(site.b, 2, site.base, 70);
  (void)site.await("two", "finished");
}

TEST_CASE("parts: a forgotten one is stopped, its files are gone, and its key is free") {
  Site site;
  CHECK(site.put(site.base) == 201);
  const std::string more = R"(,"sum":true)";
  (void)site.run_of(site.ask("k", "train", one_round, more), 201);
  const auto task = site.b.await<wire::Task>("task");
  CHECK(site.coordinator.api("DELETE", "/v1/parts/k").status == 204);
  CHECK(site.b.await<wire::Cancel>("cancel").ref.task == task.ref.task);
  CHECK(site.coordinator.api("GET", "/v1/parts/k").status == 404);
  CHECK(site.coordinator.json("GET", "/v1/runs/run-1").at("state").as_string() == "stopped");
  CHECK_FALSE(site.has_model(site.base));
  CHECK(site.coordinator.api("DELETE", "/v1/parts/k").status == 204);

  CHECK(site.put(site.base) == 201);
  CHECK(site.run_of(site.ask("k", "train", one_round, more), 201) == "run-2");
  CHECK(site.run_of(site.ask("measured", "evaluate", one_round), 201) == "run-3");
  Weighted updates;
  for (Device* device : {&site.a, &site.b}) {
    auto mine = device->await<wire::Task>("task");
    while (mine.ref.run.str() != "run-2") {
      mine = device->await<wire::Task>("task");
    }
    const std::vector<float> to = Site::trained(*device, 1);
    const std::string blob = encoded(to, site.base);
    REQUIRE(device->upload(device->result_for(mine, blob, 10), blob).status == wire::ReceiptStatus::accepted);
    updates.emplace_back(to, 10);
  }
  (void)site.await("k", "finished");
  const std::vector<float> made = mean_of(site.base, updates);
  CHECK(site.has_model(made));
  CHECK(std::filesystem::exists(site.coordinator.state() / "sums" / "run-2"));
  CHECK(site.coordinator.api("DELETE", "/v1/parts/k").status == 204);
  CHECK_FALSE(site.has_model(made));
  CHECK_FALSE(std::filesystem::exists(site.coordinator.state() / "sums" / "run-2"));
  CHECK(site.coordinator.api("GET", "/v1/parts/k/sum").status == 404);
  CHECK(site.has_model(site.base));  // the other part begins with it
  CHECK(site.coordinator.json("GET", "/v1/runs/run-2").at("origin").as_string() == "k");
  CHECK(site.coordinator.api("DELETE", "/v1/parts/measured").status == 204);
  CHECK_FALSE(site.has_model(site.base));
}

TEST_CASE("parts: what was forgotten is removed after a crash") {
  Site site;
  CHECK(site.put(site.base) == 201);
  (void)site.run_of(site.ask("k", "train", one_round, R"(,"sum":true)"), 201);
  (void)site.work(site.a, 1, site.base, 30);
  (void)site.work(site.b, 1, site.base, 70);
  (void)site.await("k", "finished");
  site.a.drop();
  site.b.drop();
  site.coordinator.kill();
  // As if it had been killed between the record and the files.
  change_records(site.coordinator.state(), "UPDATE asked_parts SET forgotten = 1");
  site.coordinator.start();
  CHECK(site.coordinator.api("GET", "/v1/parts/k").status == 404);
  const auto sum = site.coordinator.state() / "sums" / "run-1";
  CHECK(run_until(site.loop, [&] { return !std::filesystem::exists(sum) && !site.has_model(site.base); }));
}

TEST_CASE("parts: hostile and mistaken requests") {
  Site site(false);
  Site& s = site;
  const std::string good = file_of(s.base);
  SUBCASE("models that are not what they claim to be") {
    const std::string other = digest_of(values(0.1F, 2));
    auto refused = s.coordinator.api("PUT", "/v1/models/" + other, good);
    CHECK(refused.status == 422);
    CHECK(refused.body.find("it is the model") != std::string::npos);
    CHECK(s.coordinator.api("PUT", "/v1/models/" + other, "hello").status == 422);
    CHECK(s.coordinator.api("PUT", "/v1/models/" + other).status == 422);
    CHECK(s.coordinator.api("PUT", "/v1/models/" + other, good.substr(0, good.size() - 1)).status == 422);
    CHECK(s.coordinator.api("PUT", "/v1/models/" + other, std::string(6'000'000, 'x')).status == 413);
    const std::vector<std::string> names{"", "hello", "A" + other.substr(1), other + "0", std::string(64, '0')};
    for (const std::string& name : names) {
      CHECK(s.coordinator.api("PUT", "/v1/models/" + name, good).status == 404);
    }
    CHECK(s.coordinator.api_with("", "PUT", "/v1/models/" + other, good).status == 401);
    CHECK(s.coordinator.api_with("guess", "PUT", "/v1/models/" + other, good).status == 401);
    const auto models = s.coordinator.state() / "models";
    CHECK(run_until(s.loop, [&] { return std::filesystem::is_empty(models); }));
  }
  SUBCASE("requests that say nothing of use") {
    REQUIRE(s.put(s.base) == 201);
    auto refused = s.ask("k", "train", R"({"model":"m","rounds":0,"sneaky":1})");
    CHECK(refused.status == 422);
    for (const char* problem : {"spec.data: is missing", "spec.rounds: expected", "spec.sneaky: unknown field"}) {
      CHECK_MESSAGE(refused.body.find(problem) != std::string::npos, refused.body);
    }
    CHECK(s.coordinator.api("POST", "/v1/parts", "{").status == 422);
    CHECK(s.coordinator.api("POST", "/v1/parts").status == 422);
    CHECK(s.coordinator.api("POST", "/v1/parts", std::string((1U << 20U) + 1, ' ')).status == 413);
    CHECK(s.ask("Key", "train", one_round).status == 422);
    CHECK(s.ask("../../key", "train", one_round).status == 422);
    CHECK(s.ask(std::string(65, 'k'), "train", one_round).status == 422);
    CHECK(s.coordinator.json("GET", "/v1/runs").at("runs").as_array().empty());
  }
  SUBCASE("keys that are none") {
    for (const char* key : {"unknown", "KEY", "a%20b", "a%2fb", "x%27%20OR%201", "%c3%bc", "sum", "/sum"}) {
      const std::string path = std::string("/v1/parts/") + key;
      CHECK_MESSAGE(s.coordinator.api("GET", path).status == 404, key);
      CHECK_MESSAGE(s.coordinator.api("GET", path + "/sum").status == 404, key);
      CHECK_MESSAGE(s.coordinator.api("DELETE", path).status == 204, key);
    }
    CHECK(s.coordinator.api("GET", "/v1/parts/..%2fruns").status == 400);
    CHECK(s.coordinator.api("GET", "/v1/partsandmore").status == 404);
    CHECK(s.coordinator.api("PUT", "/v1/parts/k", "x").status == 405);
    CHECK(s.coordinator.api("DELETE", "/v1/parts").status == 405);
    CHECK(s.coordinator.api("DELETE", "/v1/runs/run-1").status == 405);
  }
  SUBCASE("the same key with other words") {
    REQUIRE(s.put(s.base) == 201);
    (void)s.run_of(s.ask("k", "train", one_round), 201);
    CHECK(s.ask("k", "train", two_rounds).status == 409);
    CHECK(s.ask("k", "evaluate", one_round).status == 409);
    CHECK(s.ask("k", "train", one_round, R"(,"first_round":2)").status == 409);
    CHECK(s.ask("k", "train", one_round, R"(,"sum":true)").status == 409);
    CHECK(s.run_of(s.ask("k", "train", one_round, R"(,"sum":false,"first_round":1)"), 200) == "run-1");
  }
  SUBCASE("who may only look") {
    change_records(s.coordinator.state(), "INSERT INTO api_tokens(secret, role, name, created_at) VALUES('" +
                                              crypto::sha256("eyes").hex() + "', 'viewer', 'v', 0)");
    const auto status = [&](const char* method, const std::string& path, const std::string& body = "") {
      return s.coordinator.api_with("eyes", method, path, body).status;
    };
    CHECK(status("GET", "/v1/runs") == 200);
    CHECK(status("GET", "/v1/parts") == 403);
    CHECK(status("GET", "/v1/parts/k") == 403);
    CHECK(status("POST", "/v1/parts", "{}") == 403);
    CHECK(status("DELETE", "/v1/parts/k") == 403);
    CHECK(status("PUT", "/v1/models/" + digest_of(s.base), good) == 403);
    CHECK_FALSE(s.has_model(s.base));
  }
  SUBCASE("more than anybody needs") {
    REQUIRE(s.put(s.base) == 201);
    for (int i = 0; i < 64; ++i) {
      (void)s.run_of(s.ask("k" + std::to_string(i), "train", one_round), 201);  // fails at once: one device
    }
    CHECK(s.ask("k64", "train", one_round).status == 429);
    CHECK(s.coordinator.api("DELETE", "/v1/parts/k0").status == 204);
    CHECK(s.ask("k64", "train", one_round).status == 201);
  }
}
