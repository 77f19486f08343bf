// What becomes of devices: with the real coordinator and its real broker.
#include <chrono>
#include <future>

#include <doctest/doctest.h>

#include "device.hpp"
#include "flops/core/file.hpp"
#include "flops/crypto/certificate.hpp"
#include "flops/test/wait.hpp"
#include "pair.hpp"

using namespace flops;
using namespace flops::test;

namespace {

namespace json = boost::json;

std::string token_for(CoordinatorProcess& coordinator, const json::object& what) {
  const auto made = coordinator.json("POST", "/v1/tokens", json::serialize(what));
  return std::string(made.at("token").as_string());
}

std::string state_of(CoordinatorProcess& coordinator, const std::string& device) {
  return std::string(coordinator.json("GET", "/v1/devices/" + device).at("state").as_string());
}

bool is_online(CoordinatorProcess& coordinator, const std::string& device) {
  return coordinator.json("GET", "/v1/devices/" + device).at("online").as_bool();
}

// Until the other side has ended the connection; how long that took.
double seconds_until_cut(CoordinatorProcess& coordinator, const Device& device) {
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE_MESSAGE(run_until(coordinator.loop(), [&] { return !device.connected(); }), coordinator.log());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string serial_of(const std::string& pem) {
  return crypto::read_certificate(pem).value().serial;
}

}  // namespace

TEST_CASE("life: a device that has to be approved by hand gets its certificate after that") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  const std::string token = token_for(coordinator, {{"approve", true}});
  const auto waiting = device.enrol(token);
  CHECK(waiting.status == 202);
  CHECK(json::parse(waiting.body).at("state") == "pending");
  CHECK(state_of(coordinator, "pi-1") == "pending");
  CHECK(device.enrol(token).status == 202);
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/quarantine").status == 409);
  CHECK(coordinator.json("POST", "/v1/devices/pi-1/approve").at("state") == "accepted");
  CHECK(device.enrol(token).status == 200);
  device.connect();
  CHECK(is_online(coordinator, "pi-1"));
}

TEST_CASE("life: revoking cuts a connected device off, and its certificate never opens the broker again") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  Device other(coordinator, "pi-2");
  join_all({&device, &other}, coordinator.token(2));
  CHECK(coordinator.json("POST", "/v1/devices/pi-1/revoke", R"({"reason": "stolen"})").at("state") == "revoked");
  MESSAGE("cut off after " << seconds_until_cut(coordinator, device) << " s");
  CHECK(device.try_to_connect().find("revoked") != std::string::npos);
  CHECK_FALSE(is_online(coordinator, "pi-1"));
  CHECK(other.connected());

  // Not after a restart of everything either, and not with another token.
  coordinator.kill();
  coordinator.start();
  CHECK_FALSE(device.try_to_connect().empty());
  CHECK(other.try_to_connect().empty());
  CHECK(device.enrol(coordinator.token()).body.find("device_revoked") != std::string::npos);
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/approve").status == 409);

  // The list that an external broker fetches needs no token.
  const auto list = coordinator.api_with("", "GET", "/v1/crl");
  CHECK(list.status == 200);
  CHECK(list.body.find("BEGIN X509 CRL") != std::string::npos);
}

TEST_CASE("life: a device that was set up anew takes its id over with a token made for it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  Device again(coordinator, "pi-1");
  device.join(coordinator.token());
  CHECK(again.enrol(coordinator.token()).status == 409);
  const std::string token = token_for(coordinator, {{"device", "pi-1"}});
  Device another(coordinator, "pi-2");
  CHECK(another.enrol(token).body.find("token_device") != std::string::npos);
  CHECK(again.enrol(token).status == 200);
  (void)seconds_until_cut(coordinator, device);
  CHECK_FALSE(device.try_to_connect().empty());
  CHECK(run_until(loop, [&] { return again.try_to_connect().empty(); }, std::chrono::seconds(10)));
  CHECK(state_of(coordinator, "pi-1") == "accepted");
}

TEST_CASE("life: a quarantined device stays connected, gets no work, and nothing of it counts") {
  Pair pair;
  const wire::Task task = Pair::task_of(pair.a, 1);
  const auto work = pair.work(pair.a, task, 7);
  (void)Pair::task_of(pair.b, 1);
  REQUIRE(pair.coordinator.json("POST", "/v1/devices/a/quarantine", R"({"reason": "odd"})").at("state") ==
          "quarantined");
  CHECK(pair.a.await<wire::Notice>("notice").reason == "odd");
  CHECK(pair.a.await<wire::Cancel>("cancel").ref.task == task.ref.task);
  pair.a.send("result", wire::encode(work.offer));
  CHECK(pair.a.await<wire::Refused>("refused").code == "quarantined");
  CHECK(pair.a.connected());
  // The broker does not take the bytes of its update either.
  CHECK(run_until(pair.loop, [&] {
    return pair.a.publish("flops/v1/test/devices/a/blob/" + std::string(64, 'a') + "/0", "x").has_value() == false;
  }));

  pair.coordinator.kill();  // it is remembered
  pair.coordinator.start();
  CHECK(pair.a.try_to_connect().empty());
  CHECK(pair.a.await<wire::Notice>("notice").state == "quarantined");
  CHECK(pair.coordinator.json("POST", "/v1/devices/a/approve").at("state") == "accepted");
  CHECK(pair.a.await<wire::Notice>("notice").state == "accepted");
}

TEST_CASE("life: two machines with one certificate are quarantined, and the audit log says by whom") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  for (const char* session : {"s", "s2", "s"}) {
    wire::DeviceState state;
    state.online = true;
    state.session = session;
    state.activity = "idle";
    REQUIRE(device.publish(wire::Topics(FleetId::parse("test").value()).device_state(device.id()), wire::encode(state))
                .has_value());
  }
  CHECK(device.await<wire::Notice>("notice").state == "quarantined");
  CHECK(state_of(coordinator, "pi-1") == "quarantined");
  const auto audit = coordinator.json("GET", "/v1/audit?target=pi-1").at("audit").as_array();
  REQUIRE(audit.size() == 2);
  CHECK(audit.at(0).at("who") == "coordinator");
  CHECK(audit.at(0).at("action") == "quarantined");
  CHECK(audit.at(1).at("who") == "token 1");
}

TEST_CASE("life: a device gets a new certificate over its session, and over HTTPS with its key alone") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop, {}, "enrolment.certificate_lifetime = \"1m\"\n");  // it is due at once
  Device device(coordinator, "pi-1");
  Device stranger(coordinator, "pi-1");
  device.join(coordinator.token());
  const std::string first = read_file(device.certificate_file()).value();

  device.send("renew", wire::encode(wire::Renew{device.csr()}));
  const std::string second = device.await<wire::Certificate>("certificate").certificate;
  CHECK(serial_of(second) != serial_of(first));
  CHECK(device.connected());
  REQUIRE(replace_file(device.certificate_file(), second).has_value());
  CHECK(device.try_to_connect().empty());

  const auto renew = [&](const Device& by, const std::string& name) {
    return coordinator.api_with("", "POST", "/v1/renew",
                                json::serialize(json::object{{"v", 1}, {"device", name}, {"csr", by.csr()}}));
  };
  CHECK(renew(device, "pi-1").status == 200);
  CHECK(renew(stranger, "pi-1").status == 403);
  CHECK(renew(device, "pi-2").status == 400);  // the request is for pi-1
  CHECK(coordinator.api_with("", "POST", "/v1/renew", "{}").status == 400);
  CHECK(coordinator.api_with("", "POST", "/v1/renew", R"({"device": "pi-1", "csr": "nonsense"})").status == 400);
  device.send("renew", wire::encode(wire::Renew{stranger.csr()}));
  CHECK(device.await<wire::Refused>("refused").code == "renewal");

  REQUIRE(coordinator.api("POST", "/v1/devices/pi-1/revoke").status == 200);
  CHECK(renew(device, "pi-1").body.find("device_revoked") != std::string::npos);
}

TEST_CASE("life: what is wanted of a device is told, and told again until it says that it has it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  const auto answer = coordinator.json("PATCH", "/v1/devices/pi-1",
                                       R"({"labels": {"site": "hall-3"}, "settings": {"log_level": "\"debug\""}})");
  CHECK(answer.at("configuration").at("version") == 1);
  CHECK(answer.at("configuration").at("reported_version") == 0);
  auto wanted = device.await<wire::Configuration>("configuration");
  CHECK(wanted.version == 1);
  CHECK(wanted.labels.at("site") == "hall-3");
  CHECK(wanted.settings.at("log_level") == "\"debug\"");
  device.say_hello();  // without having taken it
  CHECK(device.await<wire::Configuration>("configuration") == wanted);
  coordinator.json("PATCH", "/v1/devices/pi-1", R"({"labels": {"site": null}})");
  CHECK(device.await<wire::Configuration>("configuration").labels.empty());

  for (const char* bad : {R"({"labels": {"": "x"}})", R"({"labels": {"a": 1}})", R"({"settings": {"a": "b\nc"}})",
                          R"({"labels": [1]})", R"({"labels": {"a": ")"}) {
    CHECK(coordinator.api("PATCH", "/v1/devices/pi-1", bad).status == 400);
  }
  CHECK(coordinator.api("PATCH", "/v1/devices/pi-2", "{}").status == 404);
}

TEST_CASE("life: a device that is asked for its log answers in pieces") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  auto asked = std::async(std::launch::async, [&] { return coordinator.api("POST", "/v1/devices/pi-1/log"); });
  const auto request = device.await<wire::ReportRequest>("report");
  CHECK(request.kind == "log");
  device.send("report", wire::encode(wire::Report{request.request, 2, 2, "line 2\n"}));
  device.send("report", wire::encode(wire::Report{"another", 1, 1, "nonsense\n"}));
  device.send("report", wire::encode(wire::Report{request.request, 1, 2, "line 1\n"}));
  const auto answer = asked.get();
  CHECK(answer.status == 200);
  CHECK(json::parse(answer.body).at("text") == "line 1\nline 2\n");
  device.drop();
  CHECK(run_until(loop, [&] { return !is_online(coordinator, "pi-1"); }));
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/log").status == 409);
}

TEST_CASE("life: people have tokens of their own, and what they do has their name") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  const auto make = [&](const char* body) { return coordinator.api("POST", "/v1/access", body); };
  const auto made = make(R"({"name": "ann", "role": "operator"})");
  REQUIRE(made.status == 201);
  CHECK(make(R"({"name": "ann", "role": "viewer"})").status == 409);
  CHECK(make(R"({"name": "Ann", "role": "viewer"})").status == 400);
  CHECK(make(R"({"name": "bob", "role": "king"})").status == 400);
  const std::string ann(json::parse(made.body).at("token").as_string());
  const auto viewer = json::parse(make(R"({"name": "vic", "role": "viewer"})").body);
  const std::string vic(viewer.at("token").as_string());

  CHECK(coordinator.api_with(vic, "GET", "/v1/devices/pi-1").status == 200);
  CHECK(coordinator.api_with(vic, "POST", "/v1/devices/pi-1/quarantine").status == 403);
  CHECK(coordinator.api_with(vic, "PATCH", "/v1/devices/pi-1", "{}").status == 403);
  CHECK(coordinator.api_with(vic, "POST", "/v1/devices/pi-1/log").status == 403);
  CHECK(coordinator.api_with(ann, "POST", "/v1/access", R"({"name": "eve", "role": "admin"})").status == 403);
  CHECK(coordinator.api_with(ann, "GET", "/v1/audit").status == 403);
  CHECK(coordinator.api_with(ann, "POST", "/v1/devices/pi-1/quarantine").status == 200);
  const auto audit = coordinator.json("GET", "/v1/audit?target=pi-1&limit=1").at("audit").as_array();
  REQUIRE(audit.size() == 1);
  CHECK(audit.at(0).at("who") == "ann");

  CHECK(coordinator.api("DELETE", "/v1/access/ann").status == 204);
  CHECK(coordinator.api("DELETE", "/v1/access/ann").status == 404);
  CHECK(coordinator.api("DELETE", "/v1/access/admin").status == 409);  // nobody could make another one
  CHECK(coordinator.api_with(ann, "GET", "/v1/devices").status == 401);
}

TEST_CASE("life: what is wanted of a device is refused as a whole when no message could hold it") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  json::object settings;
  for (int i = 0; i < 40; ++i) {
    settings["conditions.s" + std::to_string(i)] = std::string(1024, '"');  // each is two bytes in a message
  }
  const auto answer =
      coordinator.api("PATCH", "/v1/devices/pi-1", json::serialize(json::object{{"settings", settings}}));
  CHECK(answer.status == 400);
  CHECK(answer.body.find("may have 65536") != std::string::npos);
  CHECK(coordinator.json("GET", "/v1/devices").at("devices").as_array().size() == 1);
  coordinator.kill();
  coordinator.start();
  CHECK(coordinator.json("POST", "/v1/devices/pi-1/revoke").at("state") == "revoked");
}

TEST_CASE("life: a revocation that the broker could not be told of is told as soon as that works") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  Device device(coordinator, "pi-1");
  device.join(coordinator.token());
  const auto acl = coordinator.state() / "broker" / "acl";
  std::filesystem::remove(acl);
  std::filesystem::create_directory(acl);  // no file can take its place
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/revoke").status >= 500);
  CHECK(state_of(coordinator, "pi-1") == "revoked");
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/revoke").status >= 500);  // not done yet
  CHECK(device.connected());
  std::filesystem::remove(acl);
  (void)seconds_until_cut(coordinator, device);
  CHECK(device.try_to_connect().find("revoked") != std::string::npos);
  CHECK(coordinator.api("POST", "/v1/devices/pi-1/revoke").status == 200);
}

TEST_CASE("life: a reason is cut between characters") {
  Pair pair;
  std::string reason;
  for (int i = 0; i < 100; ++i) {
    reason += "坏";
  }
  const json::object body{{"reason", reason}};
  REQUIRE(pair.coordinator.json("POST", "/v1/devices/a/quarantine", json::serialize(body)).at("state") ==
          "quarantined");
  CHECK(pair.a.await<wire::Notice>("notice").reason.size() == 255);
  CHECK(pair.coordinator.json("GET", "/v1/devices").at("devices").as_array().size() == 2);
}

TEST_CASE("life: the file with the first token may be lost") {
  boost::asio::io_context loop;
  CoordinatorProcess coordinator(loop);
  const std::string before = read_file(coordinator.state() / "admin.token").value();
  coordinator.kill();
  std::filesystem::remove(coordinator.state() / "admin.token");
  coordinator.start();
  CHECK(coordinator.api("GET", "/v1/status").status == 200);
  CHECK(read_file(coordinator.state() / "admin.token").value() != before);
  CHECK(coordinator.api_with(before.substr(0, before.find('\n')), "GET", "/v1/status").status == 401);
}
