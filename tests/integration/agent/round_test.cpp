#include <csignal>

#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/agent_storage/storage.hpp"
#include "flops/core/version.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::test;

namespace {

void accept(Fleet& fleet, const wire::ResultMessage& result) {
  fleet.command("receipt", wire::Receipt{result.ref, result.update.sha256, wire::ReceiptStatus::accepted, {}});
}

bool idle(const wire::DeviceState& state) {
  return state.online && state.activity == "idle";
}

// Grants everything, checks the update's bytes, gives the receipt, and returns what the device trained.
std::vector<float> collect(Fleet& fleet, const wire::ResultMessage& result, const std::vector<float>* base) {
  REQUIRE_MESSAGE(result.ok, result.reason);
  const std::uint32_t count = blob::chunk_count(result.update.size);
  fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{0, count - 1}}});
  const std::string bytes = fleet.receive_update(result.update);
  CHECK(crypto::sha256(bytes) == result.update.sha256);
  CHECK(bytes.size() == result.update.size);
  accept(fleet, result);
  fleet.wait_for_state(idle, "idle after the receipt");
  return decode_update(bytes, base);
}

}  // namespace

TEST_CASE("agent: an evaluation is recorded once, although the trainer says it at once and when the job ends") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const EncodedModel base = encode_model(fake_initial(7));
  fleet.publish_blob(base);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(fake_initial(7));
  task.base_blob = base.ref;
  task.evaluate = true;
  fleet.command("task", task);
  CHECK(fleet.next<wire::Metrics>("metrics").model == task.base);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);
  CHECK(fleet.stop_agent(SIGTERM).code == 0);
  auto storage = agent::Storage::open(fleet.folder() / "state", agent::Damaged::refuse, 0);
  REQUIRE(storage.has_value());
  const auto recorded = storage->evaluations(10);
  REQUIRE(recorded.has_value());
  REQUIRE(recorded->size() == 1);
  CHECK(recorded->front().metrics.ref == task.ref);
}

TEST_CASE("agent: from hello over initial parameters and two rounds to an evaluation and a clean end") {
  Fleet fleet;
  fleet.start_agent();
  const auto hello = fleet.next<wire::Hello>("hello");
  CHECK(hello.agent_version == version);
  CHECK(hello.cores >= 1);
  CHECK(hello.labels == std::map<std::string, std::string>{{"site", "hall-3"}});
  CHECK(hello.datasets == std::vector<wire::Dataset>{{"mnist", 40, 10}});
  CHECK(hello.models.empty());
  CHECK(hello.tasks.empty());
  fleet.wait_for_state([&](const auto& state) { return idle(state) && state.session == hello.session; }, "online");

  // Initial parameters.
  fleet.command("task", fleet.task("init", 0, wire::TaskKind::init));
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  const auto init = fleet.next<wire::ResultMessage>("result");
  CHECK(init.layout_text == fake_layout);
  CHECK(init.layout == fake_model_layout().id());
  CHECK(init.base.empty());
  CHECK(init.steps == 0);
  CHECK(collect(fleet, init, nullptr) == fake_initial(0));

  // Round 1 from a complete blob; the grant comes in two parts.
  const std::vector<float> first = fake_initial(0);
  const EncodedModel complete = encode_model(first);
  REQUIRE(blob::chunk_count(complete.ref.size) >= 3);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(first);
  task.base_blob = complete.ref;
  task.evaluate = true;
  fleet.command("task", task);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  fleet.publish_blob(complete);  // after the task: the device waits for it
  const auto metrics = fleet.next<wire::Metrics>("metrics");
  CHECK(metrics.ref == task.ref);
  CHECK(metrics.model == task.base);
  CHECK(metrics.samples == 10);
  CHECK(metrics.loss == static_cast<double>(first[0]) + 2);
  const auto result = fleet.next<wire::ResultMessage>("result");
  CHECK(result.weight == fake_samples);
  CHECK(result.train_loss == 0.5);
  CHECK(result.steps == fake_steps);
  CHECK(result.base == task.base);
  fleet.command("grant", wire::Grant{result.ref, result.update.sha256, {{1, 1}}});
  fleet.wait([&] { return fleet.chunks_of(result.update.sha256) == 1; }, "the one chunk that was granted");
  const std::vector<float> trained = collect(fleet, result, &first);
  CHECK(trained == fake_trained(first, 1));

  // Round 2 from a delta against the model the device holds.
  const EncodedModel delta = encode_model(trained, &first);
  CHECK(delta.ref.size < complete.ref.size);
  fleet.publish_blob(delta);
  wire::Task second = fleet.task("t2", 2);
  second.base = model_digest_of(trained);
  second.base_blob = delta.ref;
  second.base_blob_base = task.base;
  fleet.command("task", second);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  CHECK(collect(fleet, fleet.next<wire::ResultMessage>("result"), &trained) == fake_trained(trained, 2));

  // A held model is evaluated without fetching anything; the same command twice has the effect of one.
  wire::Task evaluation = fleet.task("e1", 3, wire::TaskKind::evaluate);
  evaluation.base = second.base;
  evaluation.base_blob = wire::BlobRef{crypto::sha256("nowhere"), 1000};
  fleet.command("task", evaluation);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  CHECK(fleet.next<wire::Metrics>("metrics").model == second.base);
  const auto evaluated = fleet.next<wire::ResultMessage>("result");
  CHECK(evaluated.ok);
  CHECK(evaluated.update.size == 0);
  accept(fleet, evaluated);
  fleet.wait_for_state(idle, "idle after the evaluation");
  fleet.command("task", evaluation);
  const auto again = fleet.next<wire::Ack>("ack");
  CHECK(again.status == wire::AckStatus::declined);
  CHECK(again.reason.find("over") != std::string::npos);

  const process::Exit exit = fleet.stop_agent(SIGTERM);
  CHECK_FALSE(exit.signalled);
  CHECK(exit.code == 0);
  fleet.wait_for_state([](const auto& state) { return !state.online && !state.lost; }, "offline, not lost");
  CHECK(fleet.waiting("result") == 0);
  CHECK(fleet.waiting("ack") == 0);
}

TEST_CASE("agent: a delta whose base is not held is asked for whole, a task without data is declined") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(5);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = wire::BlobRef{crypto::sha256("x"), 1000};
  task.base_blob_base = crypto::sha256("a model of another life");
  fleet.command("task", task);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::need_full);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  task.base_blob = complete.ref;
  task.base_blob_base = {};
  fleet.command("task", task);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);

  wire::Task other = fleet.task("t2", 1);
  other.ref.run = *RunId::parse("run-2");
  other.data = "faces";
  other.base = task.base;
  fleet.command("task", other);
  const auto declined = fleet.next<wire::Ack>("ack");
  CHECK(declined.status == wire::AckStatus::declined);
  CHECK(declined.reason == "no usable data set 'faces' here");
}

TEST_CASE("agent: a trainer that dies is tried three times, one that cannot is reported at once") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(5);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = complete.ref;
  task.model = "no-model";
  fleet.command("task", task);
  auto result = fleet.next<wire::ResultMessage>("result");
  CHECK_FALSE(result.ok);
  CHECK(result.reason == "no model 'no-model'");
  fleet.command("receipt", wire::Receipt{result.ref, {}, wire::ReceiptStatus::accepted, {}});

  task = fleet.task("t2", 2);
  task.base = model_digest_of(base);
  task.base_blob = complete.ref;
  task.model = "crash";
  fleet.command("task", task);
  result = fleet.next<wire::ResultMessage>("result");
  CHECK_FALSE(result.ok);
  CHECK(result.reason.starts_with("failed 3 times: "));
}

TEST_CASE("agent: cancel and a newer task end the running one") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(5);
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  const auto make = [&](const char* id, std::int64_t round, const char* model) {
    wire::Task task = fleet.task(id, round);
    task.base = model_digest_of(base);
    task.base_blob = complete.ref;
    task.model = model;
    return task;
  };
  const auto training = [](const std::string& id) {
    return [id](const wire::DeviceState& state) { return state.activity == "training" && state.task == id; };
  };
  const wire::Task hanging = make("t1", 1, "hang");
  fleet.command("task", hanging);
  fleet.wait_for_state(training("t1"), "t1 is trained");
  fleet.command("cancel", wire::Cancel{hanging.ref, "the run was stopped"});
  fleet.wait_for_state(idle, "idle after the cancel");
  fleet.command("task", make("t2", 2, "hang"));
  fleet.wait_for_state(training("t2"), "t2 is trained");
  const wire::Task newer = make("t3", 3, "tiny");
  fleet.command("task", newer);
  const auto result = fleet.next<wire::ResultMessage>("result");
  CHECK(result.ref == newer.ref);
  CHECK(result.ok);
  CHECK(fleet.waiting("result") == 0);
}
