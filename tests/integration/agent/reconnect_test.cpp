// How a device comes back to its broker, and what it finds there.
#include <csignal>

#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/core/file.hpp"

using namespace flops;
using namespace flops::test;

namespace {

std::size_t count_in(const std::string& text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

void set_in_config(const Fleet& fleet, const std::string& what, const std::string& with) {
  std::string text = read_file(fleet.config_file()).value();
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  text.replace(at, what.size(), with);
  REQUIRE(replace_file(fleet.config_file(), text).has_value());
}

// Returns when the device has seen the status.
void tell_window(Fleet& fleet, std::int64_t seconds) {
  wire::CoordinatorStatus status;
  status.online = true;
  status.reconnect_window_seconds = seconds;
  fleet.publish(fleet.topics().status(), wire::encode(status), true);
  fleet.command("hello", wire::HelloRequest{});
  (void)fleet.next<wire::Hello>("hello");
}

std::string stored_window(const Fleet& fleet) {
  auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
  REQUIRE(storage.has_value());
  return storage->meta("reconnect_window").value().value_or("none");
}

// A task that needs no base, at work until its result is offered.
wire::ResultMessage offer(Fleet& fleet) {
  fleet.command("task", fleet.task("t1", 0, wire::TaskKind::init));
  return fleet.next<wire::ResultMessage>("result");
}

}  // namespace

TEST_CASE(
    "agent: after a restart it spreads its first connect over the window it was told, and can be stopped meanwhile") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  tell_window(fleet, 3600);
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  CHECK(stored_window(fleet) == "3600");

  fleet.start_agent();
  fleet.wait([&] { return fleet.agent_log().find("the fleet is large") != std::string::npos; }, "a spread connect");
  const auto exit = fleet.stop_agent(SIGTERM);
  CHECK_FALSE(exit.signalled);
  CHECK(exit.code == 0);
  CHECK(fleet.waiting("hello") == 0);
}

TEST_CASE("agent: a small fleet connects at once, and a will or a wrong status leaves the window as it was") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  tell_window(fleet, 1);
  tell_window(fleet, 0);  // a will does not say
  wire::CoordinatorStatus status;
  status.reconnect_window_seconds = 3600;
  std::string wrong = wire::encode(status);
  wrong.replace(wrong.find(":3600"), 5, ":360000000");
  fleet.publish(fleet.topics().status(), wrong, true);
  fleet.command("hello", wire::HelloRequest{});
  (void)fleet.next<wire::Hello>("hello");
  CHECK(fleet.agent_log().find("'reconnect_window_seconds'") != std::string::npos);
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  CHECK(stored_window(fleet) == "1");
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  CHECK(fleet.agent_log().find("the fleet is large") == std::string::npos);
}

TEST_CASE("agent: two machines with one certificate do not throw each other out without end, and nothing is lost") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const auto offered = offer(fleet);

  boost::asio::io_context loop;
  const Identity identity = fleet.broker().identity(fleet.device().str());
  mqtt::Options options;
  options.host = "localhost";
  options.port = fleet.broker().port();
  options.client_id = fleet.device().str();
  options.ca_file = identity.ca;
  options.certificate_file = identity.certificate;
  options.key_file = identity.key;
  options.session_expiry = std::chrono::hours(1);
  int losses = 0;
  mqtt::Handlers handlers;
  handlers.lost = [&losses](const Error&) { ++losses; };
  auto second = mqtt::Client::create(loop.get_executor(), options, handlers);
  REQUIRE(second.has_value());
  const auto intrude = [&] {
    (*second)->connect();
    REQUIRE(run_until(loop, [&] { return (*second)->connected(); }));
  };
  // For all the device knows its link was just cut: it takes it back, and says everything again.
  intrude();
  CHECK(fleet.next<wire::Hello>("hello").tasks == std::vector{offered.ref.task});
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  REQUIRE(run_until(loop, [&] { return losses == 1; }));
  // Now the coordinator has seen both.
  fleet.command("refused", wire::Refused{"state", wire::identity_shared, "two of them"});
  fleet.wait([&] { return fleet.agent_log().find("two of them") != std::string::npos; }, "the warning");
  intrude();
  fleet.wait([&] { return fleet.agent_log().find("took the link over") != std::string::npos; }, "the second loss");
  fleet.wait([&] { return count_in(fleet.agent_log(), "trying again in ") == 2; }, "the wait after it");
  const std::string log = fleet.agent_log();
  CHECK(std::stoi(log.substr(log.rfind("trying again in ") + 16)) >= 30'000);

  // Whoever looks after the device restarts it: it takes its place back and says everything again.
  CHECK(fleet.stop_agent(SIGTERM).code == 0);
  CHECK((*second)->connected());
  CHECK(losses == 1);
  fleet.start_agent();
  CHECK(fleet.next<wire::Hello>("hello").tasks == std::vector{offered.ref.task});
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  fleet.wait_for_state([](const auto& state) { return state.online; }, "the device is online");
}

TEST_CASE("agent: a link that only swallows is noticed, and coming back over it loses nothing") {
  Fleet fleet;
  set_in_config(fleet, "[mqtt]", "[mqtt]\nkeep_alive = \"5s\"");
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const auto offered = offer(fleet);
  fleet.broker().freeze();
  fleet.wait([&] { return fleet.agent_log().find("no connection to the broker") != std::string::npos; }, "the loss");
  fleet.broker().thaw();
  // The broker finds the device's new link while it still has the old one, or just after it has published its will.
  const auto hello = fleet.next<wire::Hello>("hello");
  CHECK(hello.tasks == std::vector{offered.ref.task});
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  fleet.wait_for_state([](const auto& state) { return state.online; }, "the device is online");
  CHECK(fleet.agent_log().find("took the link over") == std::string::npos);
}

// The coordinator had no session yet when it asked for the first time.
TEST_CASE("agent: it asks for a new certificate again when the coordinator asks who is there") {
  Fleet fleet;
  const Identity due = fleet.broker().identity(fleet.device().str(), std::chrono::minutes(1));
  const auto identity = fleet.folder() / "state" / "identity";
  REQUIRE(replace_file(identity / "certificate.pem", read_file(due.certificate).value()).has_value());
  REQUIRE(replace_file(identity / "key.pem", read_file(due.key).value()).has_value());
  fleet.start_agent();
  (void)fleet.next<wire::Renew>("renew");
  CHECK(fleet.waiting("renew") == 0);
  fleet.command("hello", wire::HelloRequest{});
  (void)fleet.next<wire::Renew>("renew");
}
