#include <doctest/doctest.h>

#include <limits>

#include "flops/wire/messages.hpp"

using namespace flops;
using namespace flops::wire;

namespace {

TaskRef reference() {
  return {TaskId::parse("run-1.r3.abc").value(), RunId::parse("run-1").value(), 1, 3};
}

Digest digest(char c) {
  return Digest::from_hex(std::string(64, c)).value();
}

template <class Message>
void round_trip(const Message& message) {
  const auto decoded = decode<Message>(encode(message));
  REQUIRE_MESSAGE(decoded.has_value(), decoded.error().what);
  CHECK(*decoded == message);
}

std::string replace(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("wire: every message survives the way through JSON") {
  Hello hello{"s",           "0.1.0", "x86_64", 4, 8ULL << 30U, {{"site", "north \"1\""}}, {{"mnist", 100, 20}},
              {digest('a')}, {}};
  hello.tasks.push_back(reference().task);
  round_trip(hello);
  round_trip(Ack{reference(), AckStatus::need_full, "lost the base"});
  round_trip(Progress{reference(), "training", 3, 10});
  round_trip(Metrics{reference(), digest('b'), 7, 0.25, 0.5, 1.5});
  ResultMessage result{reference(), true, "", {digest('c'), 12345}, "lossless", digest('d'), digest('e'), 600,
                       0.5,         2.5,  ""};
  round_trip(result);
  result.base = Digest();
  result.layout_text = R"([["w",[1]]])";
  round_trip(result);
  ResultMessage failed;
  failed.ref = reference();
  failed.ok = false;
  failed.reason = "no data";
  round_trip(failed);
  round_trip(LogLine{"warn", "text"});
  Task task;
  task.ref = reference();
  task.model = "cnn-small";
  task.data = "mnist";
  task.seed = std::numeric_limits<std::uint64_t>::max();
  task.layout_text = R"([["w",[1]]])";
  task.base = digest('a');
  task.base_blob = BlobRef{digest('b'), 99};
  task.base_blob_base = digest('c');
  task.evaluate = true;
  round_trip(task);
  task.kind = TaskKind::init;
  task.base = Digest();
  task.base_blob.reset();
  task.base_blob_base = Digest();
  round_trip(task);
  round_trip(Grant{reference(), digest('a'), {{0, 3}, {7, 7}}});
  round_trip(Receipt{reference(), digest('a'), ReceiptStatus::rejected, "NaN"});
  round_trip(Receipt{reference(), Digest(), ReceiptStatus::accepted, ""});
  round_trip(Cancel{reference(), "over"});
  round_trip(HelloRequest{"s"});
  round_trip(Refused{"up/result", "field", "why"});
  DeviceState state{
      true, false, "s", "0.1.0", {{"a", "b"}}, "training", "t", "temperature 81 C is above 80 C", 0.5, 41.5,
      80,   7,     3,   {}};
  round_trip(state);
  state.health = {{"storage", "database or disk is full"}, {"clock", "1970"}};
  state.sequence = (std::int64_t{3} << 28U) + 7;
  round_trip(state);
  round_trip(CoordinatorStatus{true, "0.1.0", "global", 5, 1, 3, {{"storage", "read-only"}}, 40});
  round_trip(RunStatus{reference().run, "running", 1, 2, 5, 4, 0.5, 0.75, 100, 200});
  round_trip(ClusterStatus{"north", reference().run, "fitting", "why", 2, 5, 4, 0.5, 0.75, 100, 200});
}

TEST_CASE("wire: a result says its local rounds, one when it does not") {
  ResultMessage result;
  result.ref = reference();
  result.update = {digest('a'), 5};
  result.layout = digest('b');
  result.local_rounds = 3;
  round_trip(result);
  const std::string good = encode(result);
  const std::string field = "\"local_rounds\":3";
  REQUIRE(good.find(field) != std::string::npos);
  CHECK(decode<ResultMessage>(replace(good, field + ",", ""))->local_rounds == 1);
  CHECK(decode<ResultMessage>(replace(good, field, "\"local_rounds\":1001"))->local_rounds == 1001);
  for (const char* wrong : {"0", "-1", "1002", "1.5", "\"3\""}) {
    CHECK_FALSE(decode<ResultMessage>(replace(good, field, std::string("\"local_rounds\":") + wrong)).has_value());
  }
}

TEST_CASE("wire: a result says its steps, or does not know them") {
  ResultMessage result;
  result.ref = reference();
  result.update = {digest('a'), 5};
  result.layout = digest('b');
  result.steps = 375;
  round_trip(result);
  const std::string good = encode(result);
  const std::string field = "\"steps\":375";
  REQUIRE(good.find(field) != std::string::npos);
  CHECK(decode<ResultMessage>(replace(good, field + ",", ""))->steps == 0);
  CHECK(decode<ResultMessage>(replace(good, field, "\"steps\":2147483648"))->steps == max_steps);
  for (const char* wrong : {"-1", "2147483649", "1.5", "\"375\"", "true"}) {
    CHECK_FALSE(decode<ResultMessage>(replace(good, field, std::string("\"steps\":") + wrong)).has_value());
  }
}

TEST_CASE("wire: training may have steps and a proximal term, and has none when older peers say nothing") {
  Task task;
  task.ref = reference();
  task.training.steps = 100;
  task.training.proximal = 0.5;
  round_trip(task);
  const std::string good = encode(task);
  const std::string fields = R"(,"steps":100,"proximal":5E-1)";
  REQUIRE(good.find(fields) != std::string::npos);
  const auto older = decode<Task>(replace(good, fields, ""));
  REQUIRE(older.has_value());
  CHECK(older->training.steps == 0);
  CHECK(older->training.proximal == 0);
  for (const char* wrong : {R"(,"steps":-1,"proximal":0)", R"(,"steps":1000001,"proximal":0)", R"(,"steps":0.5)",
                            R"(,"proximal":-0.1)", R"(,"proximal":"much")", R"(,"proximal":1e7)"}) {
    CHECK_FALSE(decode<Task>(replace(good, fields, wrong)).has_value());
  }
}

TEST_CASE("wire: a task has no control variates when older peers say nothing") {
  Task task;
  task.ref = reference();
  task.training.control_variates = true;
  round_trip(task);
  const std::string good = encode(task);
  const std::string field = R"(,"control_variates":true)";
  REQUIRE(good.find(field) != std::string::npos);
  const auto older = decode<Task>(replace(good, field, ""));
  REQUIRE(older.has_value());
  CHECK_FALSE(older->training.control_variates);
  for (const char* wrong : {"1", "\"true\"", "[]"}) {
    CHECK_FALSE(decode<Task>(replace(good, field, std::string(R"(,"control_variates":)") + wrong)).has_value());
  }
}

TEST_CASE("wire: a hello says whether it is a site's, and comes from a device when it does not") {
  Hello hello{"s", "0.1.0", "x86_64", 4, 1, {}, {{"mnist", 100, 20}}, {}, {}};
  hello.role = Role::cluster;
  round_trip(hello);
  const std::string good = encode(hello);
  const std::string field = R"("role":"cluster")";
  REQUIRE(good.find(field) != std::string::npos);
  const auto older = decode<Hello>(replace(good, "," + field, ""));
  REQUIRE(older.has_value());
  CHECK(older->role == Role::device);
  CHECK(decode<Hello>(replace(good, field, R"("role":"device")"))->role == Role::device);
  for (const char* wrong : {"\"\"", "\"site\"", "\"Cluster\"", "1", "[\"cluster\"]", "true"}) {
    const auto refused = decode<Hello>(replace(good, field, std::string("\"role\":") + wrong));
    REQUIRE_FALSE(refused.has_value());
    CHECK_MESSAGE(refused.error().what.starts_with("field: 'role'"), refused.error().what);
  }
}

TEST_CASE("wire: a task to a site carries the specification of its part") {
  Task task;
  task.ref = reference();
  task.codec = sum_codec;
  round_trip(task);
  CHECK(encode(task).find("part") == std::string::npos);
  task.part = Part{7, R"({"model":"cnn-small","rounds":1,"training":{"learning_rate":5E-2}})"};
  round_trip(task);
  const std::string good = encode(task);
  const std::string field = R"("part":{"first_round":7,"spec":)" + task.part->spec + "}";
  REQUIRE_MESSAGE(good.find(field) != std::string::npos, good);
  const auto null = decode<Task>(replace(good, field, R"("part":null)"));
  REQUIRE(null.has_value());
  CHECK_FALSE(null->part.has_value());
  const std::string nested = R"({"first_round":1,"spec":{"a":[[[[[[1]]]]]]}})";
  for (const std::string& wrong :
       {std::string("[]"), std::string("{}"), std::string(R"({"first_round":1})"), std::string(R"({"spec":{}})"),
        std::string(R"({"first_round":0,"spec":{}})"), std::string(R"({"first_round":-1,"spec":{}})"),
        std::string(R"({"first_round":1.5,"spec":{}})"), std::string(R"({"first_round":1,"spec":"{}"})"),
        std::string(R"({"first_round":1,"spec":[]})"), std::string(R"({"first_round":1,"spec":null})"), nested}) {
    CAPTURE(wrong);
    CHECK_FALSE(decode<Task>(replace(good, field, "\"part\":" + wrong)).has_value());
  }
}

TEST_CASE("wire: the specification of a part has a limit") {
  Task task;
  task.ref = reference();
  const std::string frame = R"({"x":""})";
  task.part = Part{1, R"({"x":")" + std::string(max_part_spec - frame.size(), 'x') + R"("})"};
  round_trip(task);
  task.part->spec.insert(7, "x");
  const auto refused = decode<Task>(encode(task));
  REQUIRE_FALSE(refused.has_value());
  CHECK_MESSAGE(refused.error().what.starts_with("field: 'part': 'spec'"), refused.error().what);
  task.part->spec = "no JSON";
  CHECK(decode<Task>(encode(task))->part->spec == "{}");
}

TEST_CASE("wire: a site's metrics say their spread, all of it") {
  Metrics metrics{reference(), digest('b'), 7, 0.25, 0.5, 1.5};
  CHECK(encode(metrics).find("devices") == std::string::npos);
  metrics.spread = Spread{0.25, 0.75, 4};
  round_trip(metrics);
  const std::string good = encode(metrics);
  const std::string spread = R"("accuracy_min":2.5E-1,"accuracy_max":7.5E-1,"devices":4)";
  REQUIRE_MESSAGE(good.find(spread) != std::string::npos, good);
  for (const char* wrong :
       {R"("accuracy_min":0.25,"accuracy_max":0.75)", R"("devices":4)", R"("accuracy_min":0.25,"devices":4)",
        R"("accuracy_min":0.8,"accuracy_max":0.75,"devices":4)",
        R"("accuracy_min":-0.1,"accuracy_max":0.75,"devices":4)",
        R"("accuracy_min":0.25,"accuracy_max":1.1,"devices":4)",
        R"("accuracy_min":0.25,"accuracy_max":0.75,"devices":0)",
        R"("accuracy_min":0.25,"accuracy_max":0.75,"devices":1.5)"}) {
    CAPTURE(wrong);
    CHECK_FALSE(decode<Metrics>(replace(good, spread, wrong)).has_value());
  }
}

TEST_CASE("wire: a state's sequence may be missing, but not be wrong") {
  DeviceState state;
  state.sequence = 9;
  const std::string good = encode(state);
  const std::string field = "\"sequence\":9";
  REQUIRE(good.find(field) != std::string::npos);
  const auto older = decode<DeviceState>(replace(good, "," + field, ""));
  REQUIRE(older.has_value());
  CHECK(older->sequence == 0);
  for (const char* wrong : {"-1", "1.5", "\"9\"", "99999999999999999999"}) {
    const auto refused = decode<DeviceState>(replace(good, field, std::string("\"sequence\":") + wrong));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().what.starts_with("field: 'sequence'"));
  }
}

TEST_CASE("wire: a reconnect window may be missing, but not be wrong or keep devices away for long") {
  const std::string good = encode(CoordinatorStatus{true, "0.1.0", "global", 5, 1, 3, {}, 40});
  const std::string field = "\"reconnect_window_seconds\":40";
  REQUIRE(good.find(field) != std::string::npos);
  const auto older = decode<CoordinatorStatus>(replace(good, "," + field, ""));
  REQUIRE(older.has_value());
  CHECK(older->reconnect_window_seconds == 0);
  CHECK(decode<CoordinatorStatus>(replace(good, ":40", ":3600"))->reconnect_window_seconds == 3600);
  for (const char* wrong : {":3601", ":-1", ":\"40\"", ":4e9"}) {
    const auto refused = decode<CoordinatorStatus>(replace(good, ":40", wrong));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().what.starts_with("field: 'reconnect_window_seconds'"));
  }
}

TEST_CASE("wire: hostile input is refused with the code of the protocol") {
  const std::string good = encode(Metrics{reference(), digest('b'), 7, 0.25, 0.5, 1.5});
  REQUIRE(decode<Metrics>(good).has_value());
  struct Row {
    const char* name;
    std::string text;
    const char* expected;
  };
  std::string deep;
  for (int i = 0; i < 50; ++i) {
    deep += "[";
  }
  const Row rows[] = {
      {"empty", "", "not_json"},
      {"no JSON", "hello", "not_json"},
      {"truncated", good.substr(0, good.size() / 2), "not_json"},
      {"trailing", good + "x", "not_json"},
      {"array", "[1]", "not_json"},
      {"deep", deep, "not_json"},
      {"NUL", std::string("{\"v\":1\0}", 8), "not_json"},
      {"too large", good.substr(0, good.size() - 1) + ",\"x\":\"" + std::string(70'000, 'x') + "\"}", "too_large"},
      {"no version", replace(good, "\"v\":1", "\"w\":1"), "version"},
      {"another version", replace(good, "\"v\":1", "\"v\":2"), "version"},
      {"version as text", replace(good, "\"v\":1", "\"v\":\"1\""), "version"},
      {"missing field", replace(good, "\"samples\"", "\"simples\""), "field: 'samples'"},
      {"wrong type", replace(good, "\"samples\":7", "\"samples\":\"7\""), "field: 'samples'"},
      {"fraction", replace(good, "\"samples\":7", "\"samples\":7.5"), "field: 'samples'"},
      {"negative", replace(good, "\"samples\":7", "\"samples\":-7"), "field: 'samples'"},
      {"zero", replace(good, "\"samples\":7", "\"samples\":0"), "field: 'samples'"},
      {"huge", replace(good, "\"samples\":7", "\"samples\":99999999999999999999"), "field: 'samples'"},
      {"accuracy over 1", replace(good, "\"accuracy\":5E-1", "\"accuracy\":1.5"), "field: 'accuracy'"},
      {"bad id", replace(good, "run-1.r3.abc", "../../x"), "field: 'task'"},
      {"bad digest", replace(good, std::string(64, 'b'), "xyz"), "field: 'model'"},
      {"null", replace(good, "\"samples\":7", "\"samples\":null"), "field: 'samples'"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const auto decoded = decode<Metrics>(row.text);
    REQUIRE_FALSE(decoded.has_value());
    CHECK_MESSAGE(decoded.error().what.starts_with(row.expected), decoded.error().what);
  }
}

TEST_CASE("wire: lists and maps have limits") {
  Hello hello{"s", "0.1.0", "x86_64", 4, 1, {}, {}, {}, {}};
  SUBCASE("labels") {
    for (int i = 0; i < 33; ++i) {
      hello.labels["label" + std::to_string(i)] = "x";
    }
  }
  SUBCASE("label text") {
    hello.labels["a"] = std::string(129, 'x');
  }
  SUBCASE("datasets") {
    hello.datasets.resize(65, Dataset{"t", 1, 1});
  }
  SUBCASE("models") {
    hello.models.resize(17, digest('a'));
  }
  SUBCASE("tasks") {
    hello.tasks.resize(65, reference().task);
  }
  SUBCASE("cores") {
    hello.cores = 0;
  }
  CHECK_FALSE(decode<Hello>(encode(hello)).has_value());
}

TEST_CASE("wire: conditions have limits") {
  DeviceState state;
  state.health = {{"storage", std::string(max_reason, 'x')}};
  REQUIRE(decode<DeviceState>(encode(state)).has_value());
  SUBCASE("how many") {
    state.health.resize(max_conditions + 1);
  }
  SUBCASE("the name") {
    state.health.front().name = std::string(33, 'n');
  }
  SUBCASE("the text") {
    state.health.front().text += "x";
  }
  CHECK_FALSE(decode<DeviceState>(encode(state)).has_value());
}

TEST_CASE("wire: ranges of a grant must be in order and fit 32 bits") {
  const std::string good = encode(Grant{reference(), digest('a'), {{2, 3}}});
  CHECK(decode<Grant>(good).has_value());
  for (const char* bad : {"[[3,2]]", "[[-1,2]]", "[[0]]", "[[0,1,2]]", "[0,1]", "[[0,4294967296]]", "[[\"0\",1]]"}) {
    CAPTURE(bad);
    CHECK_FALSE(decode<Grant>(replace(good, "[[2,3]]", bad)).has_value());
  }
}

TEST_CASE("wire: a number that JSON cannot carry never makes an unreadable message") {
  const auto decoded = decode<Progress>(encode(Progress{reference(), "x", 1, 2}));
  CHECK(decoded.has_value());
  const std::string text =
      encode(Metrics{reference(), digest('b'), 7, std::numeric_limits<double>::quiet_NaN(), 0.5, 1.5});
  CHECK(decode<Metrics>(text).has_value());
}
