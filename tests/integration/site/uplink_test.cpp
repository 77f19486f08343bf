// The uplink of a site: a real agent and the real flops-site between a played coordinator above and a played one at the
// site.
#include <csignal>
#include <fstream>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/digest.hpp"
#include "site_server.hpp"

using namespace flops;
using namespace flops::test;

namespace {

const std::string mnist_device =
    R"({"id":"pi-1","state":"accepted","datasets":[{"tag":"mnist","train_samples":15,"test_samples":8}]})";
const std::string other_device =
    R"({"id":"pi-2","state":"accepted","datasets":[{"tag":"mnist","train_samples":25,"test_samples":12}]})";

std::string device_list(const std::string& devices) {
  return R"({"devices":[)" + devices + "]}";
}

struct Uplink {
  Uplink() : site(fleet.loop()) {
    site.devices = device_list(mnist_device + "," + other_device);
    std::string settings = read_file(fleet.config_file()).value();
    settings.resize(settings.find("[[dataset]]"));
    settings +=
        fmt::format("[site]\nurl = \"{}\"\nca_file = \"{}\"\ntoken_file = \"{}\"\nprogram = \"{}\"\n", site.url(),
                    site.ca_file().string(), site.token_file().string(), program("flops-site").string());
    REQUIRE(replace_file(fleet.config_file(), settings));
  }

  void more_settings(const std::string& text) const { std::ofstream(fleet.config_file(), std::ios::app) << text; }

  // With the data of the site, which may come in a second hello.
  void start() {
    fleet.start_agent();
    wire::Hello hello = fleet.next<wire::Hello>("hello");
    CHECK(hello.role == wire::Role::cluster);
    while (hello.datasets.empty()) {
      hello = fleet.next<wire::Hello>("hello");
    }
    CHECK(hello.datasets == std::vector<wire::Dataset>{{"mnist", 40, 20}});
  }

  // A training task of one round, as a parent gives it.
  wire::Task task(const char* codec = wire::sum_codec, const char* id = "t1", std::int64_t round = 1) {
    wire::Task task = fleet.task(id, round);
    task.codec = codec;
    task.part = wire::Part{4, R"({"model":"tiny","rounds":1})"};
    task.base = model_digest_of(base);
    task.base_blob = encoded.ref;
    task.evaluate = true;
    return task;
  }
  void give(const wire::Task& task) {
    fleet.publish_blob(encoded);
    fleet.command("task", task);
    CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  }
  std::string collect(const wire::ResultMessage& result) {
    REQUIRE_MESSAGE(result.ok, result.reason);
    fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, 1000}}});
    std::string bytes = fleet.receive_update(result.update);
    CHECK(crypto::sha256(bytes) == result.update.sha256);
    fleet.command("receipt", wire::Receipt{result.ref, result.update.sha256, wire::ReceiptStatus::accepted, {}});
    wait_for_log("uploading -> finished");
    return bytes;
  }
  void wait_for_log(const std::string& text) {
    fleet.wait([&] { return fleet.agent_log().find(text) != std::string::npos; }, text.c_str());
  }
  void wait_for_part(const std::string& key) {
    fleet.wait([&] { return site.parts.contains(key); }, "the part at the site");
  }
  void check_sum(const wire::ResultMessage& result) {
    CHECK(result.codec == wire::sum_codec);
    CHECK(result.weight == 40);
    CHECK(result.steps == site_steps);
    CHECK(result.train_loss == 0.5);
    CHECK(result.base == model_digest_of(base));
    CHECK(collect(result) == site_training(base, 4).sum);
  }

  Fleet fleet;
  SiteServer site;
  const std::vector<float> base = fake_initial(7);
  const EncodedModel encoded = encode_model(base);
};

}  // namespace

TEST_CASE("uplink: it says that it is a cluster, and what the site's devices have, again when that changes") {
  Uplink uplink;
  uplink.start();
  uplink.site.devices = device_list(mnist_device);
  wire::Hello hello = uplink.fleet.next<wire::Hello>("hello");  // within ten seconds
  while (hello.datasets.front().train_samples == 40) {
    hello = uplink.fleet.next<wire::Hello>("hello");
  }
  CHECK(hello.datasets == std::vector<wire::Dataset>{{"mnist", 15, 8}});
  CHECK(hello.role == wire::Role::cluster);
}

TEST_CASE("uplink: without the site's coordinator it says so, and what the site had last") {
  Uplink uplink;
  uplink.start();
  CHECK(uplink.fleet.stop_agent(SIGTERM).code == 0);
  uplink.site.down();
  uplink.fleet.start_agent();
  CHECK(uplink.fleet.next<wire::Hello>("hello").datasets == std::vector<wire::Dataset>{{"mnist", 40, 20}});
  uplink.fleet.wait_for_state(
      [](const wire::DeviceState& state) { return state.health.size() == 1 && state.health[0].name == "site"; },
      "the condition 'site'");
  uplink.site.up();
  uplink.fleet.wait_for_state([](const wire::DeviceState& state) { return state.online && state.health.empty(); },
                              "that all is well again");
}

TEST_CASE("uplink: a site's sum travels as it is, with its figures and the spread of its measurement") {
  Uplink uplink;
  uplink.start();
  const wire::Task task = uplink.task();
  uplink.give(task);
  const auto metrics = uplink.fleet.next<wire::Metrics>("metrics");
  CHECK(metrics.ref == task.ref);
  CHECK(metrics.model == task.base);
  CHECK(metrics.samples == 20);
  CHECK(metrics.spread == wire::Spread{0.25, 0.75, 2});
  uplink.check_sum(uplink.fleet.next<wire::ResultMessage>("result"));
  const boost::json::object& request = uplink.site.parts.at("t1").request;
  CHECK(request.at("kind") == "train");
  CHECK(request.at("first_round") == 4);
  CHECK(request.at("spec") == boost::json::parse(task.part->spec));
  CHECK(std::string(request.at("base").as_string()) == task.base.hex());
}

TEST_CASE("uplink: where no sum is offered the site's model travels, against the base") {
  Uplink uplink;
  uplink.start();
  uplink.give(uplink.task(wire::lossless_codec));
  const auto result = uplink.fleet.next<wire::ResultMessage>("result");
  CHECK(result.codec == wire::lossless_codec);
  CHECK(result.weight == 40);
  CHECK(decode_update(uplink.collect(result), &uplink.base) == site_training(uplink.base, 4).model);
  CHECK(uplink.site.parts.at("t1").request.at("sum") == false);
}

TEST_CASE("uplink: initial parameters and a measurement are parts too") {
  Uplink uplink;
  uplink.start();
  wire::Task init = uplink.fleet.task("i1", 0, wire::TaskKind::init);
  init.part = wire::Part{1, "{}"};
  uplink.fleet.command("task", init);
  const auto made = uplink.fleet.next<wire::ResultMessage>("result");
  CHECK(made.layout_text == fake_layout);
  CHECK(decode_update(uplink.collect(made), nullptr) == fake_initial(3));

  wire::Task measure = uplink.task(wire::lossless_codec, "e1", 2);
  measure.kind = wire::TaskKind::evaluate;
  uplink.give(measure);
  CHECK(uplink.fleet.next<wire::Metrics>("metrics").spread == wire::Spread{0.25, 0.75, 2});
  CHECK(uplink.fleet.next<wire::ResultMessage>("result").ok);
}

TEST_CASE("uplink: an agent that is killed or stopped loses nothing of a part, and does nothing twice") {
  Uplink uplink;
  uplink.site.finishes_at_once = false;
  uplink.start();
  uplink.give(uplink.task());
  uplink.wait_for_part("t1");
  SUBCASE("killed while the site works") {
    REQUIRE(uplink.fleet.stop_agent(SIGKILL).signalled);
    uplink.site.finish("t1");
    uplink.fleet.start_agent();
  }
  SUBCASE("stopped while the site works") {
    CHECK(uplink.fleet.stop_agent(SIGTERM).code == 0);
    CHECK(uplink.site.parts.contains("t1"));
    uplink.fleet.start_agent();
    uplink.site.finish("t1");
  }
  SUBCASE("killed when the sum is offered, and the site has forgotten it") {
    uplink.site.finish("t1");
    (void)uplink.fleet.next<wire::ResultMessage>("result");
    REQUIRE(uplink.fleet.stop_agent(SIGKILL).signalled);
    uplink.site.parts.clear();
    uplink.fleet.start_agent();
  }
  uplink.check_sum(uplink.fleet.next<wire::ResultMessage>("result"));
  CHECK(uplink.site.asked("PUT /v1/models/") <= 1);
  CHECK(uplink.site.parts.size() <= 1);
}

TEST_CASE("uplink: a part that waits for its worker stays at the site while another task has that") {
  Uplink uplink;
  uplink.site.finishes_at_once = false;
  uplink.start();
  uplink.give(uplink.task());
  wire::Task other = uplink.task(wire::sum_codec, "t2");
  other.ref.run = *RunId::parse("run-2");
  uplink.give(other);
  uplink.wait_for_part("t1");
  const std::string agent = std::to_string(uplink.fleet.agent_pid());
  std::ifstream children("/proc/" + agent + "/task/" + agent + "/children");
  pid_t worker = 0;
  children >> worker;
  REQUIRE(worker > 0);
  REQUIRE(::kill(worker, SIGKILL) == 0);
  uplink.wait_for_part("t2");
  CHECK(uplink.site.parts.contains("t1"));
  uplink.site.finish("t2");
  const auto second = uplink.fleet.next<wire::ResultMessage>("result");
  CHECK(second.ref == other.ref);
  CHECK(second.codec == wire::sum_codec);
  uplink.site.finish("t1");
  CHECK(uplink.fleet.next<wire::ResultMessage>("result").ref.task == *TaskId::parse("t1"));
  CHECK(uplink.site.asked("DELETE /v1/parts/t1") == 0);
}

TEST_CASE("uplink: a cancelled task is taken back at the site, one that fails there fails with the site's words") {
  Uplink uplink;
  uplink.site.finishes_at_once = false;
  uplink.start();
  const wire::Task task = uplink.task();
  uplink.give(task);
  uplink.wait_for_part("t1");
  SUBCASE("cancelled") {
    uplink.fleet.command("cancel", wire::Cancel{task.ref, "the round is over"});
    uplink.fleet.wait([&] { return uplink.site.parts.empty(); }, "the end of the part");
  }
  SUBCASE("failed") {
    uplink.site.parts.at("t1").reason = "1 of 2 devices with the data 'mnist' are online";
    uplink.site.parts.at("t1").state = "failed";
    const auto result = uplink.fleet.next<wire::ResultMessage>("result");
    CHECK_FALSE(result.ok);
    CHECK(result.reason == "run-7 of the site failed: 1 of 2 devices with the data 'mnist' are online");
  }
}

TEST_CASE("uplink: a site whose coordinator is away for longer than a task has attempts loses no task") {
  Uplink uplink;
  uplink.start();
  uplink.site.down();
  uplink.give(uplink.task());
  while (uplink.fleet.next<wire::Progress>("progress").phase != "unreachable") {
  }
  uplink.site.up();
  uplink.check_sum(uplink.fleet.next<wire::ResultMessage>("result"));
}

TEST_CASE("uplink: without a link the site goes on as far as it may, and then hands up its model") {
  Uplink uplink;
  uplink.more_settings("[offline]\ncontinue = 1\n");
  uplink.site.finishes_at_once = false;
  uplink.start();
  uplink.give(uplink.task());
  uplink.wait_for_part("t1");
  uplink.fleet.broker().kill();
  uplink.wait_for_log("no connection to the broker");
  uplink.site.finish("t1");
  uplink.wait_for_part("t1.1");
  CHECK(uplink.site.parts.at("t1.1").request.at("first_round") == 5);
  CHECK(uplink.site.parts.at("t1.1").request.at("sum") == false);
  uplink.site.finish("t1.1");
  uplink.wait_for_log("encoding -> offering");
  uplink.fleet.broker().start();
  uplink.fleet.connect_coordinator();
  uplink.fleet.command("hello", wire::HelloRequest{});
  const auto result = uplink.fleet.next<wire::ResultMessage>("result");
  CHECK(result.codec == wire::lossless_codec);
  CHECK(result.local_rounds == 2);
  const std::vector<float> first = site_training(uplink.base, 4).model;
  CHECK(decode_update(uplink.collect(result), &uplink.base) == site_training(first, 5).model);
}

TEST_CASE("uplink: a task that is not for a site is declined, and so is a site's at a device") {
  const auto declined = [](Fleet& fleet, const wire::Task& task) {
    fleet.command("task", task);
    const auto ack = fleet.next<wire::Ack>("ack");
    CHECK(ack.status == wire::AckStatus::declined);
    return ack.reason;
  };
  SUBCASE("at the uplink") {
    Uplink uplink;
    uplink.start();
    wire::Task task = uplink.task();
    task.part.reset();
    CHECK(declined(uplink.fleet, task) == "this is the uplink of a site: only tasks with a part are for it");
    task = uplink.task();
    task.training.control_variates = true;
    CHECK(declined(uplink.fleet, task) == "a site has no control variates of its own");
    task = uplink.task("gzip");
    CHECK(declined(uplink.fleet, task).find("gzip") != std::string::npos);
    task = uplink.task();
    task.kind = wire::TaskKind::evaluate;
    CHECK(declined(uplink.fleet, task) == "the codec 'sum' is of training");
  }
  SUBCASE("at a device") {
    Fleet fleet;
    fleet.start_agent();
    CHECK(fleet.next<wire::Hello>("hello").role == wire::Role::device);
    wire::Task task = fleet.task("t1", 1);
    task.codec = wire::sum_codec;
    CHECK(declined(fleet, task) == "the codec 'sum' is of sites, and this is a device");
    task.part = wire::Part{};
    CHECK(declined(fleet, task) == "this task is a part for a site, and this is a device");
  }
}
