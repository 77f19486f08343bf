// Devices, tokens, and who may do what.
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include "cells.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"

namespace flops::report {

namespace json = boost::json;

namespace {

bool is_true(const json::value& object, std::string_view name) {
  const json::value* value = field(object, name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

// Whom an enrolment token is for.
std::string holder_of(const json::value& token) {
  return text(token, "device") != "-" ? text(token, "device") : is_true(token, "approve") ? "after approval" : "any";
}

// What the operator wants of a device, and whether it does it.
void add_configuration(Lines& lines, const json::value& device) {
  const json::value* configuration = field(device, "configuration");
  if (configuration == nullptr || integer_field(*configuration, "version").value_or(0) == 0) {
    return;
  }
  const std::string problem = text(*configuration, "problem");
  const bool taken = integer(*configuration, "version") == integer(*configuration, "reported_version");
  lines.emplace_back("configuration", !taken ? "not taken yet"
                                      : problem != "-"
                                          ? "refused: " + problem
                                          : "as wanted (version " + integer(*configuration, "version") + ")");
  const json::value* settings = field(*configuration, "settings");
  if (const json::object* object = settings == nullptr ? nullptr : settings->if_object()) {
    for (const auto& [name, value] : *object) {
      lines.emplace_back("wanted " + printable(std::string_view(name)),
                         value.is_string() ? std::string(value.get_string()) : json::serialize(value));
    }
  }
}

}  // namespace

std::string tokens_table(const json::value& answer) {
  Table table({{"ID"}, {"ROLE"}, {"USES LEFT", Align::right}, {"FOR"}, {"EXPIRES"}, {"CREATED"}, {"NOTE"}});
  for (const json::value& token : array_field(answer, "tokens")) {
    const std::string id = text_field(token, "id") ? text(token, "id") : integer(token, "id");
    table.add({id, text(token, "role"), integer(token, "uses_left"), holder_of(token), time(token, "expires_at"),
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

std::string device_details(const json::value& device) {
  Lines lines{{"device", text(device, "id")},
              {"role", text(device, "role")},
              {"state", text(device, "state")},
              {"reason", text(device, "reason")},
              {"online", online(device)},
              {"last seen", time(device, "last_seen")},
              {"activity", activity(device)},
              {"paused", text(device, "paused")},
              {"task", text(device, "task")},
              {"agent version", text(device, "agent_version")},
              {"machine", text(device, "machine")},
              {"system", text(device, "system")},
              {"accelerator", text(device, "accelerator")},
              {"architecture", text(device, "architecture")},
              {"cores", integer(device, "cores")},
              {"memory", bytes(device, "memory_bytes")},
              {"certificate until", time(device, "certificate_not_after")}};
  if (const json::value* undervoltage = field(device, "undervoltage");
      undervoltage != nullptr && undervoltage->is_bool() && undervoltage->get_bool()) {
    lines.emplace_back("power", "too little voltage: the power supply is too weak");
  }
  add_health(lines, device);
  add_configuration(lines, device);
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

std::string device_line(const json::value& device) {
  std::string line = fmt::format("{}, {}, {}", text(device, "state"), online(device), activity(device));
  for (const char* name : {"task", "paused"}) {
    if (const std::string value = text(device, name); value != "-") {
      line += fmt::format(", {} {}", name, value);
    }
  }
  const std::string wrong = health(device);
  return printable(wrong == "ok" || wrong == "-" ? line : line + ", health: " + wrong);
}

std::string report_text(const json::value& answer) {
  std::string out;
  const std::string told = text_field(answer, "text").value_or("");
  for (std::size_t begin = 0; begin < told.size();) {
    const std::size_t end = std::min(told.find('\n', begin), told.size());
    out += printable(std::string_view(told).substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  return out;
}

std::string access_table(const json::value& answer) {
  Table table({{"NAME"}, {"ROLE"}, {"CREATED"}});
  for (const json::value& row : array_field(answer, "access")) {
    table.add({text(row, "name"), text(row, "role"), time(row, "created_at")});
  }
  return table.text();
}

std::string audit_table(const json::value& answer) {
  Table table({{"AT"}, {"WHO"}, {"DID"}, {"WITH"}, {"DETAIL"}});
  for (const json::value& row : array_field(answer, "audit")) {
    table.add({time(row, "at"), text(row, "who"), text(row, "action"), text(row, "target"), text(row, "detail")});
  }
  return table.text();
}

}  // namespace flops::report
