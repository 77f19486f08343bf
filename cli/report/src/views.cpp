#include "flops/report/views.hpp"

#include <vector>

#include <fmt/format.h>

#include "cells.hpp"
#include "flops/report/text.hpp"

namespace flops::report {

namespace json = boost::json;

namespace {

std::string round_of(const json::value& run) {
  return fmt::format("{}/{}", integer(run, "round"), integer(run, "rounds_total"));
}

// A run that another coordinator asked for is a part of one of its runs.
std::string origin_of(const json::value& run) {
  const auto origin = text_field(run, "origin");
  return origin ? fmt::format("{} ({})", *origin, text(run, "part")) : "-";
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

std::string status_details(const json::value& status) {
  Lines lines{{"version", text(status, "version")},
              {"role", text(status, "role")},
              {"up for", integer(status, "uptime_seconds") + " s"},
              {"active runs", integer(status, "runs_active")},
              {"devices online", integer(status, "devices_online")}};
  add_health(lines, status);
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

namespace {

// "fashion, https://example.org/x at 0123456789ab"
std::string project_of(const json::value& run) {
  const auto project = text_field(run, "project");
  if (!project) {
    return "-";
  }
  const std::string commit = text_field(run, "commit").value_or("");
  return fmt::format("{}, {}{}", printable(*project), text(run, "place"),
                     commit.empty() ? "" : " at " + printable(commit).substr(0, 12));
}

void add_left_out(std::string& out, const json::value& run) {
  const json::array& devices = array_field(run, "left_out");
  if (devices.empty()) {
    return;
  }
  Table table({{"LEFT OUT"}, {"WHY"}});
  for (const json::value& device : devices) {
    table.add({text(device, "device"), text(device, "reason")});
  }
  out += "\n" + table.text();
}

}  // namespace

std::string run_details(const json::value& run) {
  std::string out = details({{"run", text(run, "id")},
                             {"state", text(run, "state")},
                             {"reason", text(run, "reason")},
                             {"origin", origin_of(run)},
                             {"project", project_of(run)},
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
  add_left_out(out, run);
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
