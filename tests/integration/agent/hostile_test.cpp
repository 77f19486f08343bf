// Whatever comes over the link, the device serves on.
#include "fake_model.hpp"
#include "fleet.hpp"
#include "flops/crypto/digest.hpp"

using namespace flops;
using namespace flops::test;

namespace {

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("agent: commands that cannot be used are logged once a kind and change nothing") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(3);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  const std::string good = wire::encode(task);
  for (int i = 0; i < 3; ++i) {
    for (const char* kind : {"task", "grant", "receipt", "cancel", "refused", "destroy"}) {
      fleet.raw_command(kind, "not JSON at all \x01\xff");
      fleet.raw_command(kind, replaced(good, "\"v\":1", "\"v\":7"));
      fleet.raw_command(kind, "{\"v\":1}");
      fleet.raw_command(kind, std::string(100'000, '['));
      fleet.raw_command(kind, "");
    }
  }
  fleet.command("grant", wire::Grant{task.ref, task.base, {{0, 5}}});
  fleet.command("receipt", wire::Receipt{task.ref, task.base, wire::ReceiptStatus::accepted, {}});
  fleet.publish(fleet.topics().status(), "{}", true);

  // It still works.
  const EncodedModel complete = encode_model(base);
  fleet.publish_blob(complete);
  task.base_blob = complete.ref;
  fleet.command("task", task);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);
  CHECK(fleet.waiting("ack") == 1);
  const std::string log = fleet.agent_log();
  const auto first = log.find("(cmd/task): not_json");
  REQUIRE(first != std::string::npos);
  CHECK(log.find("(cmd/task)", first + 1) == std::string::npos);
  CHECK(log.find("(cmd/destroy): no such command") != std::string::npos);
}

TEST_CASE("agent: tasks that can never work are declined with the reason") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  struct Row {
    const char* name;
    std::function<void(wire::Task&)> change;
    const char* reason;
  };
  const std::vector<Row> rows = {
      {"codec", [](wire::Task& task) { task.codec = "magic"; }, "magic"},
      {"layout", [](wire::Task& task) { task.layout_text = "[[]]"; }, "layout_text"},
      {"overflowing layout", [](wire::Task& task) { task.layout_text = R"([["w",[4294967296,4294967296]]])"; },
       "layout_text"},
      {"no base", [](wire::Task& task) { task.base = {}; }, "names no base model"},
      {"a blob larger than any model of this layout",
       [](wire::Task& task) { task.base_blob = wire::BlobRef{crypto::sha256("x"), 3ULL << 30U}; }, "cannot be a model"},
      {"an empty blob", [](wire::Task& task) { task.base_blob = wire::BlobRef{crypto::sha256("x"), 0}; }, ""},
  };
  int n = 0;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    ++n;
    wire::Task task = fleet.task(fmt::format("t{}", n), n);
    task.base = crypto::sha256("some model");
    task.base_blob = wire::BlobRef{crypto::sha256("some blob"), 1000};
    row.change(task);
    const std::string payload = wire::encode(task);
    if (!wire::decode<wire::Task>(payload)) {
      continue;  // refused one layer below
    }
    fleet.raw_command("task", payload);
    const auto ack = fleet.next<wire::Ack>("ack");
    CHECK(ack.status == wire::AckStatus::declined);
    CHECK(ack.reason.find(row.reason) != std::string::npos);
  }
}

TEST_CASE("agent: chunks that are not the announced model are fetched again, then the task fails with the reason") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(3);
  EncodedModel model = encode_model(base);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  std::string reason;
  SUBCASE("bytes that do not match the digest") {
    model.bytes[1000] = static_cast<char>(model.bytes[1000] + 1);
    reason = "arrived with digest";
  }
  SUBCASE("a blob that is no encoding") {
    model.bytes.assign(model.bytes.size(), 'x');
    model.ref.sha256 = crypto::sha256(model.bytes);
    reason = "decoding the base model";
  }
  SUBCASE("another model than the task names") {
    model = encode_model(fake_initial(4));
    reason = "the task names";
  }
  task.base_blob = model.ref;
  fleet.publish_blob(model);
  fleet.command("task", task);
  CHECK(fleet.next<wire::Ack>("ack").status == wire::AckStatus::accepted);
  const auto result = fleet.next<wire::ResultMessage>("result");
  CHECK_FALSE(result.ok);
  CHECK_MESSAGE(result.reason.find(reason) != std::string::npos, result.reason);
  CHECK(fleet.agent_runs());
}

TEST_CASE("agent: chunks of the wrong size and of unknown blobs are ignored") {
  Fleet fleet;
  fleet.start_agent();
  (void)fleet.next<wire::Hello>("hello");
  const std::vector<float> base = fake_initial(3);
  const EncodedModel model = encode_model(base);
  fleet.publish(fleet.topics().chunk(model.ref.sha256, 0), "short", true);
  wire::Task task = fleet.task("t1", 1);
  task.base = model_digest_of(base);
  task.base_blob = model.ref;
  fleet.command("task", task);
  fleet.wait([&] { return fleet.agent_log().find("has 5 bytes, not 262144") != std::string::npos; }, "the log line");
  fleet.publish_blob(model);
  CHECK(fleet.next<wire::ResultMessage>("result").ok);
}
