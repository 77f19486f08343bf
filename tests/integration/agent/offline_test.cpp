// What a device must not lose.
#include <csignal>
#include <fstream>

#include <sys/stat.h>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::test;

namespace {

// A task whose base is published, at work on the device.
wire::Task give_task(Fleet& fleet) {
  const std::vector<float> base = fake_initial(7);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = complete.ref;
  fleet.command("task", task);
  return task;
}

}  // namespace

TEST_CASE("agent: killed while it waits for a grant, it offers the same update again and sends it") {
  Fleet fleet;
  fleet.start_agent();
  const auto hello = fleet.next<wire::Hello>("hello");
  const wire::Task task = give_task(fleet);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  fleet.wait_for_state([](const auto& state) { return !state.online && state.lost; }, "the broker tells of the loss");

  fleet.start_agent();
  const auto again = fleet.next<wire::Hello>("hello");
  CHECK(again.session != hello.session);
  CHECK(again.tasks == std::vector{task.ref.task});
  CHECK(again.models == std::vector{task.base});
  const auto repeated = fleet.next<wire::ResultMessage>("result");
  CHECK(repeated == offered);
  fleet.command("grant", wire::Grant{offered.ref, offered.update.sha256, {{0, 1000}}});
  const std::string bytes = fleet.receive_update(offered.update);
  const std::vector<float> base = fake_initial(7);
  CHECK(decode_update(bytes, &base) == fake_trained(base, 1));
}

TEST_CASE("agent: a result that hears nothing is offered again while the coordinator is there") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  give_task(fleet);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  wire::CoordinatorStatus status;
  status.online = true;
  fleet.publish(fleet.topics().status(), wire::encode(status), true);
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  fleet.command("grant", wire::Grant{offered.ref, offered.update.sha256, {{0, 1000}}});
  (void)fleet.receive_update(offered.update);
  // The receipt is lost.
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
}

TEST_CASE("agent: killed in training, it trains again from the stored model and ends in the same update") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  wire::Task task = give_task(fleet);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  fleet.command("receipt", wire::Receipt{task.ref, offered.update.sha256, wire::ReceiptStatus::accepted, {}});
  // The same work again under another name, on a trainer that never ends.
  task.ref.task = *TaskId::parse("t2");
  task.ref.round = 2;
  task.model = "hang";
  fleet.command("task", task);
  fleet.wait_for_state([](const auto& state) { return state.task == "t2" && state.activity == "training"; },
                       "training");
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  fleet.start_agent();
  const auto hello = fleet.next<wire::Hello>("hello");
  CHECK(hello.tasks == std::vector{task.ref.task});
  fleet.wait_for_state(
      [&](const auto& state) { return state.session == hello.session && state.activity == "training"; },
      "training again");
  const auto exit = fleet.stop_agent(SIGTERM);
  CHECK_FALSE(exit.signalled);
  CHECK(exit.code == 0);
}

TEST_CASE("agent: a lost link does not stop the work, and everything open is said again") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const wire::Task task = give_task(fleet);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  fleet.broker().stop();
  fleet.broker().start();
  fleet.connect_coordinator();
  fleet.command("hello", wire::HelloRequest{});  // the device may have been back before we could listen
  (void)fleet.next<wire::Hello>("hello");
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
  CHECK(fleet.agent_runs());
  CHECK(offered.ref == task.ref);
}

TEST_CASE("agent: when the coordinator comes back, everything open is said again") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  (void)give_task(fleet);
  const auto offered = fleet.next<wire::ResultMessage>("result");
  wire::CoordinatorStatus status;
  status.online = false;
  fleet.publish(fleet.topics().status(), wire::encode(status), true);
  status.online = true;
  fleet.publish(fleet.topics().status(), wire::encode(status), true);
  (void)fleet.next<wire::Hello>("hello");
  CHECK(fleet.next<wire::ResultMessage>("result") == offered);
}

TEST_CASE("agent: its states count up, over connections too, and the will is the newest of its connection") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  std::string session;
  std::int64_t newest = 0;
  const auto wait_for_newer = [&](bool online, const char* what) {
    fleet.wait_for_state(
        [&](const wire::DeviceState& state) {
          if (state.online != online || state.sequence <= newest || (!session.empty() && state.session != session)) {
            return false;
          }
          session = state.session;
          newest = state.sequence;
          return true;
        },
        what);
  };
  wait_for_newer(true, "the first state");
  fleet.broker().stop();
  fleet.broker().start();
  fleet.connect_coordinator();
  wait_for_newer(true, "a state of the next connection");
  REQUIRE(fleet.stop_agent(SIGKILL).signalled);
  wait_for_newer(false, "the will");
}

TEST_CASE("agent: a damaged database is set aside and the device serves on") {
  Fleet fleet;
  {
    std::ofstream(fleet.folder() / "state" / "agent.db") << std::string(20'000, 'x');
  }
  fleet.start_agent();
  CHECK(fleet.next<wire::Hello>("hello").models.empty());
  (void)give_task(fleet);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);
  CHECK(fleet.agent_log().find("set aside") != std::string::npos);
}

TEST_CASE("agent: two of them on one state folder is refused") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const int first = fleet.agent_pid();
  boost::asio::io_context loop;
  process::Command command;
  command.program = program("flops-agent");
  command.arguments = {"run", "--config", fleet.config_file().string()};
  command.log_file = fleet.folder() / "second.log";
  std::optional<process::Exit> exit;
  auto second = process::Child::spawn(loop.get_executor(), command, [&](process::Exit ended) { exit = ended; });
  REQUIRE(second.has_value());
  REQUIRE(run_until(loop, [&] { return exit.has_value(); }));
  CHECK(exit->code == 1);
  std::ifstream log(fleet.folder() / "second.log");
  const std::string text{std::istreambuf_iterator<char>(log), {}};
  CHECK(text.find(fmt::format("another flops-agent (process {})", first)) != std::string::npos);
  CHECK(fleet.agent_runs());
}
