#include "flops/report/views.hpp"

#include <vector>

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "flops/core/clock.hpp"
#include "flops/report/text.hpp"

namespace flops::report {

namespace json = boost::json;

namespace {

const json::value* field(const json::value& object, std::string_view name) {
  const json::object* fields = object.if_object();
  return fields == nullptr ? nullptr : fields->if_contains(name);
}

std::string text(const json::value& object, std::string_view name) {
  const auto value = text_field(object, name);
  return value && !value->empty() ? *value : "-";
}

std::string integer(const json::value& object, std::string_view name) {
  const auto value = integer_field(object, name);
  return value ? std::to_string(*value) : "-";
}

std::string fixed(const json::value& object, std::string_view name, int digits) {
  const auto value = number_field(object, name);
  return value ? fixed_text(*value, digits) : "-";
}

std::string bytes(const json::value& object, std::string_view name) {
  const auto value = integer_field(object, name);
  return value && *value >= 0 ? bytes_text(static_cast<std::uint64_t>(*value)) : "-";
}

// Times come as text or as milliseconds since 1970.
std::string time(const json::value& object, std::string_view name) {
  const auto value = integer_field(object, name);
  return !value ? text(object, name) : *value > 0 ? iso8601(*value) : "-";
}

std::string digest(const json::value& object, std::string_view name) {
  return text(object, name).substr(0, 12);
}

std::string round_of(const json::value& run) {
  return fmt::format("{}/{}", integer(run, "round"), integer(run, "rounds_total"));
}

// A run that another coordinator asked for is a part of one of its runs.
std::string origin_of(const json::value& run) {
  const auto origin = text_field(run, "origin");
  return origin ? fmt::format("{} ({})", *origin, text(run, "part")) : "-";
}

std::string online(const json::value& device) {
  const json::value* value = field(device, "online");
  return value == nullptr || !value->is_bool() ? "-" : value->get_bool() ? "online" : "offline";
}

std::string data_tags(const json::value& device) {
  std::vector<std::string> tags;
  for (const json::value& dataset : array_field(device, "datasets")) {
    tags.push_back(text(dataset, "tag"));
  }
  return tags.empty() ? "-" : fmt::format("{}", fmt::join(tags, ","));
}

// The reason has a line of its own in the details.
std::string activity(const json::value& device) {
  const auto paused = text_field(device, "paused");
  return text(device, "activity") + (paused && !paused->empty() ? " (paused)" : "");
}

// The names of what is wrong, for tables.
std::string health(const json::value& object) {
  std::vector<std::string> names;
  for (const json::value& condition : array_field(object, "health")) {
    names.push_back(text(condition, "name"));
  }
  return field(object, "health") == nullptr ? "-" : names.empty() ? "ok" : fmt::format("{}", fmt::join(names, ","));
}

using Lines = std::vector<std::pair<std::string, std::string>>;

void add_health(Lines& lines, const json::value& object) {
  for (const json::value& condition : array_field(object, "health")) {
    lines.emplace_back("health: " + printable(text(condition, "name")), text(condition, "text"));
  }
  if (array_field(object, "health").empty()) {
    lines.emplace_back("health", health(object));
  }
}

void add_rounds(std::string& out, const json::value& of) {
  const json::array& rounds = array_field(of, "rounds");
  if (rounds.empty()) {
    return;
  }
  Table table = rounds_table();
  for (const json::value& round : rounds) {
    table.add(round_cells(round));
  }
  out += "\n" + table.text();
}

}  // namespace

std::optional<std::string> text_field(const json::value& object, std::string_view name) {
  const json::value* value = field(object, name);
  const json::string* string = value == nullptr ? nullptr : value->if_string();
  return string == nullptr ? std::nullopt : std::optional(std::string(*string));
}

std::optional<double> number_field(const json::value& object, std::string_view name) {
  const json::value* value = field(object, name);
  if (value == nullptr || !value->is_number()) {
    return std::nullopt;
  }
  return value->is_double()  ? value->get_double()
         : value->is_int64() ? static_cast<double>(value->get_int64())
                             : static_cast<double>(value->get_uint64());
}

std::optional<std::int64_t> integer_field(const json::value& object, std::string_view name) {
  const json::value* value = field(object, name);
  return value != nullptr && value->is_int64() ? std::optional(value->get_int64()) : std::nullopt;
}

const json::array& array_field(const json::value& object, std::string_view name) {
  static const json::array none;
  const json::value* value = field(object, name);
  const json::array* array = value == nullptr ? nullptr : value->if_array();
  return array == nullptr ? none : *array;
}

std::string tokens_table(const json::value& answer) {
  Table table({{"ID"}, {"ROLE"}, {"USES LEFT", Align::right}, {"EXPIRES"}, {"CREATED"}, {"NOTE"}});
  for (const json::value& token : array_field(answer, "tokens")) {
    const std::string id = text_field(token, "id") ? text(token, "id") : integer(token, "id");
    table.add({id, text(token, "role"), integer(token, "uses_left"), time(token, "expires_at"),
               time(token, "created_at"), text(token, "note")});
  }
  return table.text();
}

std::string devices_table(const json::value& answer) {
  Table table({{"DEVICE"},
               {"ROLE"},
               {"STATE"},
               {"ONLINE"},
               {"HEALTH"},
               {"ACTIVITY"},
               {"DATA"},
               {"ARCH"},
               {"VERSION"},
               {"LAST SEEN"}});
  for (const json::value& device : array_field(answer, "devices")) {
    table.add({text(device, "id"), text(device, "role"), text(device, "state"), online(device), health(device),
               activity(device), data_tags(device), text(device, "architecture"), text(device, "agent_version"),
               time(device, "last_seen")});
  }
  return table.text();
}

std::string status_details(const json::value& status) {
  Lines lines{{"version", text(status, "version")},
              {"role", text(status, "role")},
              {"up for", integer(status, "uptime_seconds") + " s"},
              {"active runs", integer(status, "runs_active")},
              {"devices online", integer(status, "devices_online")}};
  add_health(lines, status);
  return details(lines);
}

std::string device_details(const json::value& device) {
  Lines lines{{"device", text(device, "id")},
              {"role", text(device, "role")},
              {"state", text(device, "state")},
              {"online", online(device)},
              {"last seen", time(device, "last_seen")},
              {"activity", activity(device)},
              {"paused", text(device, "paused")},
              {"task", text(device, "task")},
              {"agent version", text(device, "agent_version")},
              {"architecture", text(device, "architecture")},
              {"cores", integer(device, "cores")},
              {"memory", bytes(device, "memory_bytes")},
              {"certificate until", time(device, "certificate_not_after")}};
  add_health(lines, device);
  for (const json::value& dataset : array_field(device, "datasets")) {
    lines.emplace_back("data " + printable(text(dataset, "tag")),
                       integer(dataset, "train_samples") + " train, " + integer(dataset, "test_samples") + " test");
  }
  const json::value* labels = field(device, "labels");
  if (const json::object* object = labels == nullptr ? nullptr : labels->if_object()) {
    for (const auto& [name, value] : *object) {
      lines.emplace_back("label " + printable(std::string_view(name)),
                         value.is_string() ? std::string(value.get_string()) : json::serialize(value));
    }
  }
  return details(lines);
}

std::string runs_table(const json::value& answer) {
  Table table({{"RUN"},
               {"STATE"},
               {"MODEL"},
               {"ROUND", Align::right},
               {"ACCURACY", Align::right},
               {"LOSS", Align::right},
               {"BYTES UP", Align::right},
               {"BYTES DOWN", Align::right},
               {"CREATED"},
               {"ORIGIN"}});
  for (const json::value& run : array_field(answer, "runs")) {
    table.add({text(run, "id"), text(run, "state"), text(run, "model_name"), round_of(run), fixed(run, "accuracy", 4),
               fixed(run, "loss", 4), bytes(run, "bytes_up"), bytes(run, "bytes_down"), time(run, "created_at"),
               origin_of(run)});
  }
  return table.text();
}

namespace {

// "7be1..., of round 3, by accuracy 0.8123"
std::string best_model(const json::value& run) {
  const json::value* best = field(run, "best");
  if (best == nullptr || !best->is_object()) {
    return "-";
  }
  return fmt::format("{}, of round {}, by {} {}", text(*best, "model_digest"), integer(*best, "round"),
                     text(*best, "metric"), fixed(*best, "value", 4));
}

}  // namespace

std::string run_details(const json::value& run) {
  std::string out = details({{"run", text(run, "id")},
                             {"state", text(run, "state")},
                             {"reason", text(run, "reason")},
                             {"origin", origin_of(run)},
                             {"model", text(run, "model_name")},
                             {"algorithm", text(run, "algorithm")},
                             {"parameters", integer(run, "parameters")},
                             {"round", round_of(run)},
                             {"accuracy", fixed(run, "accuracy", 4)},
                             {"loss", fixed(run, "loss", 4)},
                             {"bytes up", bytes(run, "bytes_up")},
                             {"bytes down", bytes(run, "bytes_down")},
                             {"created", time(run, "created_at")},
                             {"finished", time(run, "finished_at")},
                             {"digest", text(run, "model_digest")},
                             {"best model", best_model(run)}});
  add_rounds(out, run);
  if (!array_field(run, "clusters").empty()) {
    out += "\n" + clusters_table(run);
  }
  return out;
}

std::string clusters_table(const json::value& answer) {
  Table table({{"CLUSTER"},
               {"STATE"},
               {"ROUND", Align::right},
               {"ONLINE", Align::right},
               {"PARTICIPANTS", Align::right},
               {"ACCURACY", Align::right},
               {"LOSS", Align::right},
               {"BYTES UP", Align::right},
               {"BYTES DOWN", Align::right},
               {"REASON"}});
  for (const json::value& cluster : array_field(answer, "clusters")) {
    table.add({text(cluster, "cluster"), text(cluster, "state"), integer(cluster, "round"),
               integer(cluster, "devices_online"), integer(cluster, "participants"), fixed(cluster, "accuracy", 4),
               fixed(cluster, "loss", 4), bytes(cluster, "bytes_up"), bytes(cluster, "bytes_down"),
               text(cluster, "reason")});
  }
  return table.text();
}

std::string cluster_details(const json::value& cluster) {
  Lines lines{{"cluster", text(cluster, "cluster")},
              {"run", text(cluster, "run")},
              {"state", text(cluster, "state")},
              {"reason", text(cluster, "reason")},
              {"round", integer(cluster, "round")},
              {"participants", integer(cluster, "participants")},
              {"accuracy", fixed(cluster, "accuracy", 4)},
              {"accuracy of devices", fixed(cluster, "accuracy_min", 4) + " to " + fixed(cluster, "accuracy_max", 4)},
              {"loss", fixed(cluster, "loss", 4)},
              {"bytes up", bytes(cluster, "bytes_up")},
              {"bytes down", bytes(cluster, "bytes_down")},
              {"digest", text(cluster, "model_digest")}};
  if (integer_field(cluster, "evaluated_devices")) {
    lines.emplace_back("measured by", integer(cluster, "evaluated_devices") + " devices");
  }
  for (const json::value& device : array_field(cluster, "devices")) {
    lines.emplace_back("device " + printable(text(device, "id")), online(device));
  }
  std::string out = details(lines);
  add_rounds(out, cluster);
  return out;
}

std::string models_table(const json::value& answer) {
  Table table({{"MODEL"},
               {"RUN"},
               {"ROUND", Align::right},
               {"ACCURACY", Align::right},
               {"LOSS", Align::right},
               {"PARAMETERS", Align::right},
               {"SIZE", Align::right},
               {"CREATED"}});
  for (const json::value& model : array_field(answer, "models")) {
    table.add({digest(model, "digest"), text(model, "run"), integer(model, "round"), fixed(model, "accuracy", 4),
               fixed(model, "loss", 4), integer(model, "parameters"), bytes(model, "bytes"),
               time(model, "created_at")});
  }
  return table.text();
}

Table rounds_table() {
  return Table({{"ROUND", Align::right},
                {"ACCURACY", Align::right},
                {"LOSS", Align::right, 8},
                {"PARTICIPANTS", Align::right},
                {"LATE", Align::right},
                {"DROPPED", Align::right},
                {"BYTES UP", Align::right, 10},
                {"BYTES DOWN", Align::right, 10},
                {"SECONDS", Align::right}});
}

Cells round_cells(const json::value& round) {
  return {integer(round, "round"),        fixed(round, "accuracy", 4), fixed(round, "loss", 4),
          integer(round, "participants"), integer(round, "late"),      integer(round, "dropped"),
          bytes(round, "bytes_up"),       bytes(round, "bytes_down"),  fixed(round, "seconds", 2)};
}

}  // namespace flops::report
