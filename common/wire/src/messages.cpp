#include "flops/wire/messages.hpp"

#include <limits>

#include "fields.hpp"
#include "flops/core/version.hpp"

namespace flops::wire {
namespace {

constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t most_counted = std::int64_t{1} << 48U;  // sums of what many say are numbers still
constexpr double huge = 1e300;
constexpr std::size_t max_layout = std::size_t{48} * 1024U;

template <class V>
void reference(V& v, TaskRef& ref) {
  v.id("task", ref.task);
  v.id("run", ref.run);
  v.integer("cycle", ref.cycle, 0, any);
  v.integer("round", ref.round, 0, any);
}

template <class V>
void fields(V& v, Hello& m) {
  v.text("session", m.session, 64);
  v.text("agent_version", m.agent_version, 64);
  v.text("architecture", m.architecture, 32);
  v.integer("cores", m.cores, 1, 4096);
  v.integer("memory_bytes", m.memory_bytes, 0, any);
  v.text_map("labels", m.labels, max_labels, max_label_name, max_label_value);
  v.objects("datasets", m.datasets, 64, [](auto& inner, Dataset& dataset) {
    inner.text("tag", dataset.tag, 64);
    inner.integer("train_samples", dataset.train_samples, 0, any);
    inner.integer("test_samples", dataset.test_samples, 0, any);
  });
  v.digests("models", m.models, 16);
  v.task_ids("tasks", m.tasks, 64);
  v.optional_choice("role", m.role, {Role::device, Role::cluster});
  v.optional_text("machine", m.machine, 128);
  v.optional_text("system", m.system, 128);
  v.optional_text("accelerator", m.accelerator, 128);
  v.optional_bytes("storage_bytes", m.storage_bytes, any);
}

template <class V>
void fields(V& v, Ack& m) {
  reference(v, m.ref);
  v.choice("status", m.status, {AckStatus::accepted, AckStatus::declined, AckStatus::need_full});
  v.text("reason", m.reason, max_reason);
}

template <class V>
void fields(V& v, Progress& m) {
  reference(v, m.ref);
  v.text("phase", m.phase, 32);
  v.integer("done", m.done, 0, any);
  v.integer("total", m.total, 0, any);
}

// All of it or nothing.
template <class V>
void fields(V& v, std::optional<Spread>& m) {
  if (!v.says({"accuracy_min", "accuracy_max", "devices"}, m.has_value())) {
    return;
  }
  Spread spread = m.value_or(Spread{});
  v.number("accuracy_min", spread.accuracy_min, 0, 1);
  v.number("accuracy_max", spread.accuracy_max, spread.accuracy_min, 1);
  v.integer("devices", spread.devices, 1, most_counted);
  m = spread;
}

template <class V>
void fields(V& v, Metrics& m) {
  reference(v, m.ref);
  v.digest("model", m.model);
  v.integer("samples", m.samples, 1, most_counted);
  v.number("loss", m.loss, -huge, huge);
  v.number("accuracy", m.accuracy, 0, 1);
  v.number("seconds", m.seconds, 0, huge);
  fields(v, m.spread);
}

template <class V>
void fields(V& v, ResultMessage& m) {
  reference(v, m.ref);
  v.boolean("ok", m.ok);
  v.text("reason", m.reason, max_reason);
  std::optional<BlobRef> update;
  if (m.update.size > 0) {
    update = m.update;
  }
  v.optional_blob("update", update);
  if (!update) {
    return;  // failed, or an evaluation: nothing more to say
  }
  m.update = *update;
  v.text("codec", m.codec, 32);
  v.digest("layout", m.layout);
  v.optional_digest("base", m.base);
  v.optional_integer("local_rounds", m.local_rounds, 1, max_local_rounds);
  v.optional_integer("steps", m.steps, 0, max_steps);
  v.integer("weight", m.weight, 0, any);
  v.number("train_loss", m.train_loss, -huge, huge);
  v.number("train_seconds", m.train_seconds, 0, huge);
  v.text("layout_text", m.layout_text, max_layout);
}

template <class V>
void fields(V& v, LogLine& m) {
  v.text("level", m.level, 16);
  v.text("text", m.text, 1024);
}

template <class V>
void fields(V& v, Renew& m) {
  v.text("csr", m.csr, max_pem);
}

template <class V>
void fields(V& v, Report& m) {
  v.text("request", m.request, 64);
  v.integer("part", m.part, 1, max_report_parts);
  v.integer("parts", m.parts, m.part, max_report_parts);
  v.text("text", m.text, max_report_part);
}

template <class V>
void fields(V& v, Certificate& m) {
  v.text("certificate", m.certificate, max_pem);
}

template <class V>
void fields(V& v, Configuration& m) {
  v.integer("version", m.version, 0, any);
  v.text_map("labels", m.labels, max_labels, max_label_name, max_label_value);
  v.text_map("settings", m.settings, max_settings, max_label_name, max_setting);
}

template <class V>
void fields(V& v, Notice& m) {
  v.text("state", m.state, 32);
  v.text("reason", m.reason, max_reason);
}

template <class V>
void fields(V& v, ReportRequest& m) {
  v.text("request", m.request, 64);
  v.text("kind", m.kind, 32);
}

template <class V>
void fields(V& v, TrainingSpec& m) {
  v.integer("epochs", m.epochs, 1, 10'000);
  v.integer("batch", m.batch, 1, 65'536);
  v.text("optimizer", m.optimizer, 32);
  v.number("learning_rate", m.learning_rate, 1e-12, max_rate);
  v.number("momentum", m.momentum, 0, 1);
  v.number("weight_decay", m.weight_decay, 0, max_rate);
  v.text("loss", m.loss, 32);
  v.optional_integer("steps", m.steps, 0, 1'000'000);
  v.optional_number("proximal", m.proximal, 0, max_rate);
  v.optional_boolean("control_variates", m.control_variates);
}

template <class V>
void fields(V& v, std::optional<Part>& m) {
  if (!v.says({"part"}, m.has_value())) {
    return;
  }
  Part part = m.value_or(Part{});
  v.object("part", part, [](auto& inner, Part& described) {
    inner.integer("first_round", described.first_round, 1, any);
    inner.json("spec", described.spec, max_part_spec);
  });
  m = std::move(part);
}

template <class V>
void fields(V& v, Task& m) {
  reference(v, m.ref);
  v.choice("kind", m.kind, {TaskKind::init, TaskKind::train, TaskKind::evaluate});
  v.text("model", m.model, 64);
  v.text("data", m.data, 64);
  v.wide("seed", m.seed);
  v.text("codec", m.codec, 32);
  v.text("layout_text", m.layout_text, max_layout);
  v.optional_digest("base", m.base);
  v.optional_blob("base_blob", m.base_blob);
  v.optional_digest("base_blob_base", m.base_blob_base);
  v.object("training", m.training, [](auto& inner, TrainingSpec& training) { fields(inner, training); });
  v.boolean("evaluate", m.evaluate);
  v.integer("deadline_seconds", m.deadline_seconds, 0, any);
  fields(v, m.part);
}

template <class V>
void fields(V& v, Grant& m) {
  reference(v, m.ref);
  v.digest("blob", m.blob);
  v.ranges("chunks", m.chunks, 1024);
}

template <class V>
void fields(V& v, Receipt& m) {
  reference(v, m.ref);
  v.optional_digest("blob", m.blob);
  v.choice("status", m.status, {ReceiptStatus::accepted, ReceiptStatus::duplicate, ReceiptStatus::rejected});
  v.text("reason", m.reason, max_reason);
}

template <class V>
void fields(V& v, Cancel& m) {
  reference(v, m.ref);
  v.text("reason", m.reason, max_reason);
}

template <class V>
void fields(V& v, HelloRequest& m) {
  v.text("session", m.session, 64);
}

template <class V>
void fields(V& v, Refused& m) {
  v.text("about", m.about, 64);
  v.text("code", m.code, 32);
  v.text("reason", m.reason, max_reason);
}

template <class V>
void conditions(V& v, std::vector<Condition>& health) {
  v.objects("health", health, max_conditions, [](auto& inner, Condition& condition) {
    inner.text("name", condition.name, 32);
    inner.text("text", condition.text, max_reason);
  });
}

template <class V>
void fields(V& v, DeviceState& m) {
  v.boolean("online", m.online);
  v.boolean("lost", m.lost);
  v.text("session", m.session, 64);
  v.text("agent_version", m.agent_version, 64);
  v.text_map("labels", m.labels, max_labels, max_label_name, max_label_value);
  v.text("activity", m.activity, 32);
  v.text("task", m.task, 64);
  v.text("paused", m.paused, max_reason);
  v.number("load", m.load, 0, huge);
  v.number("temperature", m.temperature, -huge, huge);
  v.integer("battery_percent", m.battery_percent, -1, 100);
  v.integer("written_bytes", m.written_bytes, 0, any);
  v.integer("written_last_task", m.written_last_task, 0, any);
  conditions(v, m.health);
  v.optional_integer("sequence", m.sequence, 0, any);
  v.optional_integer("configuration", m.configuration, 0, any);
  v.optional_text("configuration_problem", m.configuration_problem, max_reason);
  v.optional_boolean("undervoltage", m.undervoltage);
}

template <class V>
void fields(V& v, CoordinatorStatus& m) {
  v.boolean("online", m.online);
  v.text("version", m.version, 64);
  v.text("role", m.role, 32);
  v.integer("uptime_seconds", m.uptime_seconds, 0, any);
  v.integer("runs_active", m.runs_active, 0, any);
  v.integer("devices_online", m.devices_online, 0, any);
  conditions(v, m.health);
  v.optional_integer("reconnect_window_seconds", m.reconnect_window_seconds, 0, max_reconnect_window);
}

template <class V>
void fields(V& v, RunStatus& m) {
  v.id("run", m.run);
  v.text("state", m.state, 32);
  v.integer("cycle", m.cycle, 0, any);
  v.integer("round", m.round, 0, any);
  v.integer("rounds", m.rounds, 0, any);
  v.integer("participants", m.participants, 0, any);
  v.number("loss", m.loss, -huge, huge);
  v.number("accuracy", m.accuracy, 0, 1);
  v.integer("bytes_up", m.bytes_up, 0, any);
  v.integer("bytes_down", m.bytes_down, 0, any);
}

template <class V>
void fields(V& v, ClusterStatus& m) {
  v.text("cluster", m.cluster, 64);
  v.id("run", m.run);
  v.text("state", m.state, 32);
  v.text("reason", m.reason, max_reason);
  v.integer("cycle", m.cycle, 0, any);
  v.integer("round", m.round, 0, any);
  v.integer("participants", m.participants, 0, any);
  v.number("loss", m.loss, -huge, huge);
  v.number("accuracy", m.accuracy, 0, 1);
  v.integer("bytes_up", m.bytes_up, 0, any);
  v.integer("bytes_down", m.bytes_down, 0, any);
}

Result<boost::json::object> parse_object(std::string_view json) {
  if (json.size() > max_message) {
    return fail(ErrorKind::permanent, "too_large: {} bytes; the limit is {}", json.size(), max_message);
  }
  boost::json::parse_options options;
  options.max_depth = 8;
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(json, error, {}, options);
  if (error) {
    return fail(ErrorKind::permanent, "not_json: {}", error.message());
  }
  if (!value.is_object()) {
    return fail(ErrorKind::permanent, "not_json: expected an object");
  }
  const auto* spoken = value.get_object().if_contains("v");
  if (spoken == nullptr || !spoken->is_int64() || spoken->get_int64() != protocol_version) {
    return fail(ErrorKind::permanent, "version: 'v' must be {}", protocol_version);
  }
  return std::move(value.get_object());
}

}  // namespace

template <class Message>
std::string encode(const Message& message) {
  Writer writer;
  Message copy = message;
  fields(writer, copy);
  boost::json::object object = writer.take();
  object["v"] = protocol_version;
  return boost::json::serialize(object);
}

template <class Message>
Result<Message> decode(std::string_view json) {
  auto object = parse_object(json);
  if (!object) {
    return fail(object.error());
  }
  Reader reader(*object);
  Message message;
  fields(reader, message);
  if (reader.problem()) {
    return fail(ErrorKind::permanent, "field: {}", *reader.problem());
  }
  return message;
}

#define FLOPS_WIRE_MESSAGE(Message)                          \
  template std::string encode<Message>(const Message&); /**/ \
  template Result<Message> decode<Message>(std::string_view);
FLOPS_WIRE_MESSAGE(Hello)
FLOPS_WIRE_MESSAGE(Ack)
FLOPS_WIRE_MESSAGE(Progress)
FLOPS_WIRE_MESSAGE(Metrics)
FLOPS_WIRE_MESSAGE(ResultMessage)
FLOPS_WIRE_MESSAGE(LogLine)
FLOPS_WIRE_MESSAGE(Renew)
FLOPS_WIRE_MESSAGE(Report)
FLOPS_WIRE_MESSAGE(Task)
FLOPS_WIRE_MESSAGE(Grant)
FLOPS_WIRE_MESSAGE(Receipt)
FLOPS_WIRE_MESSAGE(Cancel)
FLOPS_WIRE_MESSAGE(HelloRequest)
FLOPS_WIRE_MESSAGE(Certificate)
FLOPS_WIRE_MESSAGE(Configuration)
FLOPS_WIRE_MESSAGE(Notice)
FLOPS_WIRE_MESSAGE(ReportRequest)
FLOPS_WIRE_MESSAGE(Refused)
FLOPS_WIRE_MESSAGE(DeviceState)
FLOPS_WIRE_MESSAGE(CoordinatorStatus)
FLOPS_WIRE_MESSAGE(RunStatus)
FLOPS_WIRE_MESSAGE(ClusterStatus)
#undef FLOPS_WIRE_MESSAGE

std::string_view to_string(Role role) {
  switch (role) {
    case Role::device: return "device";
    case Role::cluster: return "cluster";
  }
  return "";
}

std::string_view to_string(TaskKind kind) {
  switch (kind) {
    case TaskKind::init: return "init";
    case TaskKind::train: return "train";
    case TaskKind::evaluate: return "evaluate";
  }
  return "";
}

std::string_view to_string(AckStatus status) {
  switch (status) {
    case AckStatus::accepted: return "accepted";
    case AckStatus::declined: return "declined";
    case AckStatus::need_full: return "need_full";
  }
  return "";
}

std::string_view to_string(ReceiptStatus status) {
  switch (status) {
    case ReceiptStatus::accepted: return "accepted";
    case ReceiptStatus::duplicate: return "duplicate";
    case ReceiptStatus::rejected: return "rejected";
  }
  return "";
}

}  // namespace flops::wire
