#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "device.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::test;

namespace {

struct Offer {
  wire::ResultMessage result;
  std::string blob;
};

// What a hostile device makes of a good offer, and what it must be told.
struct Row {
  const char* name;
  std::function<void(Offer&)> spoil;
  const char* says;
};

void with_values(Offer& offer, const std::vector<float>& local, const std::vector<float>& base) {
  offer.blob = encoded(local, base);
  offer.result.update = {crypto::sha256(offer.blob), offer.blob.size()};
}

void with_blob(Offer& offer, std::string blob) {
  offer.blob = std::move(blob);
  offer.result.update = {crypto::sha256(offer.blob), offer.blob.size()};
}

std::vector<Row> rows(const std::vector<float>& initial) {
  auto poisoned = [initial](float value) {
    auto local = values(0.1F, 9);
    local[parameters - 3] = value;
    return local;
  };
  return {
      {"nan", [=](Offer& o) { with_values(o, poisoned(std::nanf("")), initial); }, "w[149997]"},
      {"infinity", [=](Offer& o) { with_values(o, poisoned(std::numeric_limits<float>::infinity()), initial); },
       "w[149997]"},
      {"range", [=](Offer& o) { with_values(o, poisoned(1e20F), initial); }, "w[149997]"},
      {"layout", [](Offer& o) { o.result.layout = crypto::sha256("x"); }, "layout"},
      {"base", [](Offer& o) { o.result.base = crypto::sha256("x"); }, "base"},
      {"no-weight", [](Offer& o) { o.result.weight = 0; }, "weight 0"},
      {"weight", [](Offer& o) { o.result.weight = 1001; }, "weight 1001"},
      {"codec", [](Offer& o) { o.result.codec = "zip"; }, "codec 'zip'"},
      {"size", [](Offer& o) { o.result.update.size = 1ULL << 30U; }, "never produces more"},
      {"digest", [](Offer& o) { o.blob[o.blob.size() / 2] = static_cast<char>(o.blob[o.blob.size() / 2] ^ 1); },
       "digest"},
      {"truncated", [](Offer& o) { with_blob(o, o.blob.substr(0, o.blob.size() - 100)); }, ""},
      {"garbage", [](Offer& o) { with_blob(o, std::string(5000, 'x')); }, ""},
      {"bomb", [](Offer& o) { with_blob(o, encoded(std::vector<float>(30'000'000, 0.0F))); }, "30000000"},
  };
}

}  // namespace

TEST_CASE("coordinator: every bad update is refused with a reason, and the run goes on to its end") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const auto initial = values(0.1F, 1);
  const auto table = rows(initial);
  const std::string token = coordinator.token(50);
  Device good_a(coordinator, "good-a");
  Device good_b(coordinator, "good-b");
  std::vector<std::unique_ptr<Device>> hostile;
  // The first in the alphabet makes the initial model.
  Device first(coordinator, "a-first");
  std::vector<Device*> everyone = {&first, &good_a, &good_b};
  for (const Row& row : table) {
    hostile.push_back(std::make_unique<Device>(coordinator, std::string("h-") + row.name));
    everyone.push_back(hostile.back().get());
  }
  join_all(everyone, token);
  coordinator.json(
      "POST", "/v1/runs",
      fmt::format(R"({{"model":"m","data":"digits","rounds":1,"min_fit":2,"min_available":{},"evaluate":false}})",
                  table.size() + 3));
  const auto init = first.await<wire::Task>("task");
  const std::string first_blob = encoded(initial);
  REQUIRE(first.upload(first.result_for(init, first_blob), first_blob).status == wire::ReceiptStatus::accepted);

  for (std::size_t i = 0; i < table.size(); ++i) {
    CAPTURE(table[i].name);
    Device& device = *hostile[i];
    const auto task = device.await<wire::Task>("task");
    Offer offer{device.result_for(task, encoded(values(0.1F, 9), initial)), encoded(values(0.1F, 9), initial)};
    table[i].spoil(offer);
    const auto receipt = device.upload(offer.result, offer.blob);
    CHECK(receipt.status == wire::ReceiptStatus::rejected);
    CHECK_FALSE(receipt.reason.empty());
    CHECK_MESSAGE(receipt.reason.find(table[i].says) != std::string::npos, receipt.reason);
  }
  unsigned seed = 20;
  for (Device* device : {&first, &good_a, &good_b}) {
    const auto task = device->await<wire::Task>("task");
    const std::string blob = encoded(values(0.1F, ++seed), initial);
    CHECK(device->upload(device->result_for(task, blob), blob).status == wire::ReceiptStatus::accepted);
  }
  REQUIRE(
      run_until(loop, [&] { return coordinator.json("GET", "/v1/runs/run-1").at("state").as_string() == "finished"; }));
  const auto run = coordinator.json("GET", "/v1/runs/run-1");
  CHECK(run.at("rounds").at(0).at("participants").as_int64() == 3);
  CHECK(run.at("rounds").at(0).at("rejected").as_int64() == static_cast<std::int64_t>(table.size()));
}

TEST_CASE("coordinator: malformed messages are refused with the protocol's code, and it stays ready") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "d");
  device.join(coordinator.token());
  struct Message {
    const char* kind;
    std::string payload;
    const char* code;
  };
  for (const Message& message :
       {Message{"hello", "no json", "not_json"}, Message{"result", R"({"v":9})", "version"},
        Message{"ack", R"({"v":1,"task":7})", "field"}, Message{"metrics", std::string(70'000, ' '), "too_large"},
        Message{"surprise", R"({"v":1})", "kind"}}) {
    CAPTURE(message.code);
    device.send(message.kind, message.payload);
    CHECK(device.await<wire::Refused>("refused").code == message.code);
  }
  wire::ResultMessage unknown;
  unknown.ref = {TaskId::parse("none").value(), RunId::parse("run-7").value(), 1, 1};
  unknown.ok = false;
  device.send("result", wire::encode(unknown));
  CHECK(device.await<wire::Refused>("refused").code == "unknown_task");
  const auto receipt = device.await<wire::Receipt>("receipt");  // so that the device lets go of it
  CHECK(receipt.ref == unknown.ref);
  CHECK(receipt.status == wire::ReceiptStatus::rejected);
  device.send_chunk(crypto::sha256("nothing"), 0, "bytes");
  CHECK(device.await<wire::Refused>("refused").code == "unknown_blob");
  CHECK(coordinator.api("GET", "/readyz").status == 200);
  // Counted, and logged once a device and code.
  device.send("hello", "no json");
  CHECK(device.await<wire::Refused>("refused").code == "not_json");
  const std::string log = coordinator.log();
  const auto once = log.find("not_json");
  REQUIRE(once != std::string::npos);
  CHECK(log.find("of d: not_json", log.find("of d: not_json") + 1) == std::string::npos);
}

TEST_CASE(
    "coordinator: a device whose older session comes back after a newer one is told that two machines use its "
    "identity") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  const auto online_as = [&](const std::string& session) {
    wire::DeviceState state;
    state.online = true;
    state.session = session;
    state.activity = "idle";
    REQUIRE(
        device.publish(wire::Topics(FleetId::parse("test").value()).device_state(device.id()), wire::encode(state)));
  };
  online_as("s");   // as it said when it joined
  online_as("s2");  // restarted
  online_as("s3");
  device.send("nonsense", "{}");
  CHECK(device.await<wire::Refused>("refused").code == "kind");  // the first refusal
  online_as("s2");
  const auto refused = device.await<wire::Refused>("refused");
  CHECK(refused.about == "state");
  CHECK(refused.code == wire::identity_shared);
  online_as("s2");
  online_as("s3");
  CHECK(device.await<wire::Refused>("refused").code == wire::identity_shared);
  device.send("nonsense", "{}");
  CHECK(device.await<wire::Refused>("refused").code == "kind");  // the second "s2" was no news
}
