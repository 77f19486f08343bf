// Devices that are late: counted in a later round, dropped, or the ordinary case of an asynchronous run.
#include <cmath>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/tensor/safetensors.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Contribution {
  std::vector<float> from, to;
  double samples;
  double late;
};

// Three devices and a run whose initial model is made.
class Trio {
 public:
  explicit Trio(const std::string& spec)
      : coordinator(loop), a(coordinator, "a"), b(coordinator, "b"), c(coordinator, "c") {
    const std::string token = coordinator.token(3);
    join_all({&a, &b, &c}, token);
    coordinator.json("POST", "/v1/runs", spec);
    const auto task = a.await<wire::Task>("task");
    const std::string blob = encoded(initial);
    REQUIRE(a.upload(a.result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  }

  // The device's task of this round; it may have been repeated.
  wire::Task task_of(Device& device, std::int64_t round) {
    while (true) {
      const auto task = device.await<wire::Task>("task");
      if (task.ref.round == round && task.kind == wire::TaskKind::train) {
        return task;
      }
    }
  }

  // Trains: a step of its own for each device and round, from the task's base.
  Contribution work(Device& device, const wire::Task& task, double samples, double late) {
    const auto from = task.base == digest_of(initial) ? initial : model(task.base.hex());
    std::vector<float> to =
        values(0.05F, static_cast<unsigned>(device.id().str()[0]) * 100U + static_cast<unsigned>(task.ref.round));
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] += from[i];
    }
    const std::string blob = encoded(to, from);
    last_offer = device.result_for(task, blob, static_cast<std::uint64_t>(samples));
    const auto receipt = device.upload(last_offer, blob);
    REQUIRE_MESSAGE(receipt.status == wire::ReceiptStatus::accepted, receipt.reason);
    return {from, to, samples, late};
  }

  void crash() {
    for (Device* device : {&a, &b, &c}) {
      device->drop();
    }
    coordinator.kill();
    coordinator.start();
    connect_all({&a, &b, &c});
  }

  [[nodiscard]] static Digest digest_of(const std::vector<float>& parameters) {
    return tensor::model_digest(test_layout(), tensor::from_memory(parameters)).value();
  }
  [[nodiscard]] std::vector<float> model(const std::string& hex) {
    const auto file = tensor::open_safetensors(coordinator.state() / "models" / (hex + ".safetensors"));
    REQUIRE_MESSAGE(file.has_value(), file.error().what);
    std::vector<float> read(parameters);
    REQUIRE(file->values()(0, read).has_value());
    return read;
  }
  [[nodiscard]] boost::json::value run() { return coordinator.json("GET", "/v1/runs/run-1"); }
  [[nodiscard]] bool finished() {
    return run_until(loop, [&] { return run().at("state").as_string() == "finished"; });
  }
  [[nodiscard]] std::string model_of(std::size_t round) {
    REQUIRE(run_until(loop, [&] {
      return run().at("rounds").as_array().size() >= round &&
             run().at("rounds").at(round - 1).at("model_digest").is_string();
    }));
    return std::string(run().at("rounds").at(round - 1).at("model_digest").as_string());
  }

  // What the round should have made of its base, in plain long doubles.
  void check_model(std::size_t round, const std::vector<float>& base, const std::vector<Contribution>& updates) {
    const std::vector<float> made = model(model_of(round));
    for (std::size_t i = 0; i < parameters; i += 101) {
      long double sum = 0;
      long double total = 0;
      for (const Contribution& update : updates) {
        const long double weight = std::round(16.0L * update.samples / std::sqrt(1.0L + update.late));
        sum += weight * (static_cast<long double>(update.to[i]) - update.from[i]);
        total += weight;
      }
      REQUIRE(std::fabs(base[i] + sum / total - made[i]) < 3e-8L);
    }
  }

  boost::asio::io_context loop;
  CoordinatorProcess coordinator;
  Device a, b, c;
  std::vector<float> initial = values(0.1F, 1);
  wire::ResultMessage last_offer;
};

std::int64_t number(const boost::json::value& run, std::size_t round, const char* field) {
  return run.at("rounds").at(round - 1).at(field).as_int64();
}

// Two updates make a round, and all three devices are asked.
std::string over_selected(int rounds, int max_staleness) {
  return fmt::format(R"({{"model":"m","data":"digits","rounds":{},"min_fit":2,"min_available":3,"fraction":0.5,
                          "over_select":0.5,"max_staleness":{},"evaluate":false}})",
                     rounds, max_staleness);
}

}  // namespace

TEST_CASE("coordinator: a late update counts in the next round, and a crash at any point changes no bit of the model") {
  static std::string undisturbed;
  int crash_at = 0;
  SUBCASE("undisturbed") {}
  SUBCASE("killed while a task is late") {
    crash_at = 1;
  }
  SUBCASE("killed while a late update is in the open sum") {
    crash_at = 2;
  }
  SUBCASE("killed again and again") {
    crash_at = 3;
  }

  Trio trio(over_selected(2, 1));
  const auto late_task = trio.task_of(trio.c, 1);
  const auto from_a = trio.work(trio.a, trio.task_of(trio.a, 1), 30, 0);
  const auto from_b = trio.work(trio.b, trio.task_of(trio.b, 1), 70, 0);
  const std::string first = trio.model_of(1);
  trio.check_model(1, trio.initial, {from_a, from_b});
  const auto second = trio.task_of(trio.a, 2);
  if (crash_at == 1 || crash_at == 3) {
    trio.crash();
    const auto again = trio.task_of(trio.c, 1);
    CHECK(again.ref == late_task.ref);
    CHECK(again.base == late_task.base);
    CHECK(again.seed == late_task.seed);
    CHECK(again.base_blob.has_value());
  }
  const auto late = trio.work(trio.c, late_task, 50, 1);
  const auto late_offer = trio.last_offer;
  if (crash_at == 2 || crash_at == 3) {
    trio.crash();
  }
  trio.c.send("result", wire::encode(late_offer));
  CHECK(trio.c.await<wire::Receipt>("receipt").status == wire::ReceiptStatus::duplicate);
  const auto fresh = trio.work(trio.a, second, 20, 0);
  REQUIRE(trio.finished());
  trio.check_model(2, trio.model(first), {late, fresh});

  const auto run = trio.run();
  CHECK(number(run, 1, "late") == 0);
  CHECK(number(run, 2, "late") == 1);
  CHECK(number(run, 2, "participants") == 2);
  CHECK(number(run, 2, "dropped") == 1);  // b's task of round 2, when the run ended
  const std::string model = trio.model_of(2);
  undisturbed = undisturbed.empty() ? model : undisturbed;
  CHECK(model == undisturbed);
}

TEST_CASE("coordinator: a device that is later than max_staleness is told, counts nothing, and takes part again") {
  Trio trio(over_selected(3, 1));
  const auto late_task = trio.task_of(trio.c, 1);
  for (const std::int64_t round : {1, 2}) {
    (void)trio.work(trio.a, trio.task_of(trio.a, round), 30, 0);
    (void)trio.work(trio.b, trio.task_of(trio.b, round), 70, 0);
  }
  const auto cancel = trio.c.await<wire::Cancel>("cancel");
  CHECK(cancel.ref == late_task.ref);
  const auto next = trio.task_of(trio.c, 3);
  const std::string blob = encoded(values(0.1F, 9), trio.initial);
  const auto receipt = trio.c.upload(trio.c.result_for(late_task, blob), blob);
  CHECK(receipt.status == wire::ReceiptStatus::rejected);
  CHECK(receipt.reason == "the round is closed");
  (void)trio.work(trio.c, next, 10, 0);
  (void)trio.work(trio.a, trio.task_of(trio.a, 3), 10, 0);
  REQUIRE(trio.finished());
  const auto run = trio.run();
  CHECK(number(run, 1, "dropped") == 0);
  CHECK(number(run, 2, "dropped") == 1);
  CHECK(number(run, 3, "late") == 0);
}

TEST_CASE("coordinator: an asynchronous run makes a version of every K updates, whatever models they are from") {
  static std::string undisturbed;
  bool crash = false;
  SUBCASE("undisturbed") {}
  SUBCASE("killed with a half-filled buffer and late tasks") {
    crash = true;
  }

  Trio trio(R"({"model":"m","data":"digits","mode":"async","rounds":3,"min_fit":2,"min_available":3,"buffer":2,
                "evaluate":false})");
  const auto slow = trio.task_of(trio.c, 1);
  const auto a1 = trio.work(trio.a, trio.task_of(trio.a, 1), 30, 0);
  const auto b1 = trio.work(trio.b, trio.task_of(trio.b, 1), 70, 0);
  const std::vector<float> first = trio.model(trio.model_of(1));
  trio.check_model(1, trio.initial, {a1, b1});

  const auto b_second = trio.task_of(trio.b, 2);
  const auto a_second = trio.task_of(trio.a, 2);
  const auto c1 = trio.work(trio.c, slow, 50, 1);
  if (crash) {
    trio.crash();
  }
  const auto a2 = trio.work(trio.a, a_second, 20, 0);
  const std::vector<float> second = trio.model(trio.model_of(2));
  trio.check_model(2, first, {c1, a2});

  const auto c3 = trio.work(trio.c, trio.task_of(trio.c, 3), 40, 0);
  const auto b2 = trio.work(trio.b, b_second, 10, 1);
  REQUIRE(trio.finished());
  trio.check_model(3, second, {c3, b2});
  const auto run = trio.run();
  CHECK(number(run, 1, "late") == 0);
  CHECK(number(run, 2, "late") == 1);
  CHECK(number(run, 3, "late") == 1);
  const std::string model = trio.model_of(3);
  undisturbed = undisturbed.empty() ? model : undisturbed;
  CHECK(model == undisturbed);
}
