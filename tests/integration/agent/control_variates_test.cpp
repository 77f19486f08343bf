// SCAFFOLD on a device: when its own control variate moves on, and when not.
#include <csignal>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/crypto/digest.hpp"
#include "flops/tensor/control_variates.hpp"

using namespace flops;
using namespace flops::test;

namespace {

using Values = std::vector<float>;

constexpr auto accepted = wire::ReceiptStatus::accepted;

Values travelling(Values x, const Values& c) {
  x.insert(x.end(), c.begin(), c.end());
  return x;
}

Values model_of(const Values& both) {
  return {both.begin(), both.begin() + static_cast<std::ptrdiff_t>(fake_parameters)};
}

const Values zeros(fake_parameters);
const Values first_base = travelling(fake_initial(7), fake_initial(8));
const Values second_base = travelling(fake_initial(17), fake_initial(18));

// What the device's own variate is after a task of this round.
Values variate_after(const Values& own, const Values& base, std::uint64_t round) {
  return fake_variate(own, model_of(base), fake_trained(model_of(base), round));
}

Values update_of(const Values& own, const Values& base, std::uint64_t round) {
  Values sent(fake_parameters);
  tensor::variate_to_return(std::span(base).subspan(fake_parameters), own, variate_after(own, base, round), sent);
  return travelling(fake_trained(model_of(base), round), sent);
}

wire::Task task_of(Fleet& fleet, const char* id, std::int64_t round, const Values& base) {
  wire::Task task = fleet.task(id, round);
  task.layout_text = tensor::with_variates(fake_model_layout())->canonical();
  task.training.control_variates = true;
  task.base = model_digest_of(base);
  task.base_blob = encode_model(base).ref;
  return task;
}

wire::Task give(Fleet& fleet, const char* id, std::int64_t round, const Values& base, const char* model = "tiny") {
  wire::Task task = task_of(fleet, id, round, base);
  task.model = model;
  fleet.publish_blob(encode_model(base));
  fleet.command("task", task);
  return task;
}

void wait_for_log(Fleet& fleet, const std::string& text) {
  fleet.wait([&] { return fleet.agent_log().find(text) != std::string::npos; }, text.c_str());
}

// The next result that is this task's: others may be said again in between.
wire::ResultMessage result_of(Fleet& fleet, const wire::Task& task) {
  wire::ResultMessage result;
  do {
    result = fleet.next<wire::ResultMessage>("result");
  } while (result.ref != task.ref);
  REQUIRE_MESSAGE(result.ok, result.reason);
  return result;
}

void receipt(Fleet& fleet, const wire::ResultMessage& result, wire::ReceiptStatus status) {
  fleet.command("receipt", wire::Receipt{result.ref, result.update.sha256, status, {}});
  wait_for_log(fleet, fmt::format("task {}: uploading -> finished", result.ref.task));
}

// Takes the update, with which own variate it must have been made.
wire::ResultMessage check_update(Fleet& fleet, const wire::Task& task, const Values& own, const Values& base) {
  const auto result = result_of(fleet, task);
  fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, 1000}}});
  const Values expected = update_of(own, base, static_cast<std::uint64_t>(task.ref.round));
  CHECK(decode_update(fleet.receive_update(result.update), &base) == expected);
  return result;
}

void restart(Fleet& fleet, int signal = SIGKILL) {
  (void)fleet.stop_agent(signal);
  fleet.start_agent();
}

// Writes over the only control variate that is stored.
void damage_variate(const Fleet& fleet) {
  auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
  REQUIRE(storage.has_value());
  REQUIRE(storage->variates()->size() == 1);
  REQUIRE(storage->contents()
              .run("UPDATE parts SET data = zeroblob(length(data)) WHERE n = 1 AND content = "
                   "(SELECT content FROM variates)")
              .has_value());
}

}  // namespace

TEST_CASE("agent: the control variate of a round that counts is used in the next, whatever is killed between") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  bool offered_before = false;
  bool trained_twice = false;
  SUBCASE("nothing") {}
  SUBCASE("the agent, in training") {
    trained_twice = true;
  }
  SUBCASE("the agent, when the update is offered") {
    offered_before = true;
  }
  const wire::Task first = give(fleet, "t1", 1, first_base, trained_twice ? "staged" : "tiny");
  if (trained_twice) {
    wait_for_log(fleet, "task t1: a checkpoint is on the disk");
    restart(fleet);
  }
  if (offered_before) {
    (void)result_of(fleet, first);
    restart(fleet);
  }
  receipt(fleet, check_update(fleet, first, zeros, first_base), accepted);
  restart(fleet, offered_before ? SIGTERM : SIGKILL);
  const wire::Task second = give(fleet, "t2", 2, second_base);
  (void)check_update(fleet, second, variate_after(zeros, first_base, 1), second_base);
}

TEST_CASE("agent: an update that does not count leaves the control variate as it was") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  receipt(fleet, check_update(fleet, give(fleet, "t1", 1, first_base), zeros, first_base), accepted);
  const Values own = variate_after(zeros, first_base, 1);
  const wire::Task lost = give(fleet, "t2", 2, second_base);
  const auto result = check_update(fleet, lost, own, second_base);
  SUBCASE("rejected") {
    receipt(fleet, result, wire::ReceiptStatus::rejected);
  }
  SUBCASE("its round is cancelled") {
    fleet.command("cancel", wire::Cancel{lost.ref, "the round is closed"});
    wait_for_log(fleet, "task t2: uploading -> finished");
  }
  // Too late, and of a task that is over.
  fleet.command("receipt", wire::Receipt{lost.ref, result.update.sha256, accepted, {}});
  (void)check_update(fleet, give(fleet, "t3", 3, first_base), own, first_base);
}

TEST_CASE("agent: the next round waits for the receipt of an update with a control variate") {
  struct Row {
    const char* name;
    bool killed;
    wire::ReceiptStatus status;
  };
  for (const Row& row :
       {Row{"it counts", false, accepted}, Row{"killed, and it counts", true, wire::ReceiptStatus::duplicate},
        Row{"it does not count", true, wire::ReceiptStatus::rejected}}) {
    CAPTURE(row.name);
    Fleet fleet;
    fleet.start_agent();
    (void)fleet.next<wire::Hello>("hello");
    const wire::Task first = give(fleet, "t1", 1, first_base);
    const auto result = check_update(fleet, first, zeros, first_base);
    const wire::Task second = give(fleet, "t2", 2, second_base);
    wait_for_log(fleet, "task t2: assembling -> ready");
    if (row.killed) {
      restart(fleet);
      (void)result_of(fleet, first);
    }
    CHECK(fleet.agent_log().find("task t2: ready -> running") == std::string::npos);
    fleet.command("receipt", wire::Receipt{first.ref, result.update.sha256, row.status, {}});
    const bool counts = row.status != wire::ReceiptStatus::rejected;
    (void)check_update(fleet, second, counts ? variate_after(zeros, first_base, 1) : zeros, second_base);
  }
}

TEST_CASE("agent: a damaged control variate, and one of another run, are none") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  receipt(fleet, check_update(fleet, give(fleet, "t1", 1, first_base), zeros, first_base), accepted);
  wire::Task second = task_of(fleet, "t2", 2, second_base);
  SUBCASE("damaged") {
    REQUIRE(fleet.stop_agent(SIGTERM).code == 0);
    damage_variate(fleet);
    fleet.start_agent();
  }
  SUBCASE("another run") {
    second.ref.run = *RunId::parse("run-2");
  }
  fleet.publish_blob(encode_model(second_base));
  fleet.command("task", second);
  (void)check_update(fleet, second, zeros, second_base);
}

TEST_CASE("agent: initial parameters come with control variates of zero, and an evaluation is of the model alone") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  wire::Task init = fleet.task("init", 0, wire::TaskKind::init);
  init.training.control_variates = true;
  fleet.command("task", init);
  const auto made = result_of(fleet, init);
  const auto layout = tensor::with_variates(fake_model_layout());
  CHECK(made.layout_text == layout->canonical());
  CHECK(made.layout == layout->id());
  fleet.command("grant", wire::Grant{made.ref, made.update.sha256, {{0, 1000}}});
  const Values nothing(2 * fake_parameters);
  CHECK(decode_update(fleet.receive_update(made.update), &nothing) == travelling(fake_initial(0), zeros));
  receipt(fleet, made, accepted);

  wire::Task evaluation = task_of(fleet, "e1", 1, first_base);
  evaluation.kind = wire::TaskKind::evaluate;
  fleet.publish_blob(encode_model(first_base));
  fleet.command("task", evaluation);
  CHECK(fleet.next<wire::Metrics>("metrics").loss == static_cast<double>(first_base[0]) + 2);
}

TEST_CASE("agent: a layout that is no model with its control variates is declined with the reason") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  struct Row {
    const char* name;
    const char* layout;
    const char* reason;
  };
  const Row rows[] = {
      {"no second half", R"([["w",[300,999]],["b",[300]]])", "'b' stands where the control variate 'scaffold.c/w'"},
      {"half of it", R"([["w",[2]],["b",[3]],["scaffold.c/w",[2]]])", "3 tensors are no model"},
      {"wrong names", R"([["w",[2]],["b",[3]],["scaffold.c/w",[2]],["c/b",[3]]])", "'c/b' stands where"},
      {"wrong shapes", R"([["w",[2]],["b",[3]],["scaffold.c/w",[3]],["scaffold.c/b",[2]]])", "has another shape"},
  };
  std::int64_t n = 0;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ++n;
    wire::Task task = task_of(fleet, "x", n, first_base);
    task.ref.task = *TaskId::parse(fmt::format("t{}", n));
    task.layout_text = row.layout;
    fleet.command("task", task);
    const auto ack = fleet.next<wire::Ack>("ack");
    CHECK(ack.status == wire::AckStatus::declined);
    CHECK_MESSAGE(ack.reason.find(row.reason) != std::string::npos, ack.reason);
  }
}
