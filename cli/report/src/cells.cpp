#include "cells.hpp"

#include "flops/core/clock.hpp"
#include "flops/core/error.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"

namespace flops::report {

namespace json = boost::json;

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

std::string time(const json::value& object, std::string_view name) {
  const auto value = integer_field(object, name);
  return !value ? text(object, name) : *value > 0 ? iso8601(*value) : "-";
}

std::string digest(const json::value& object, std::string_view name) {
  return text(object, name).substr(0, 12);
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

std::string activity(const json::value& device) {
  const auto paused = text_field(device, "paused");
  return text(device, "activity") + (paused && !paused->empty() ? " (paused)" : "");
}

std::string health(const json::value& object) {
  std::vector<std::string> names;
  for (const json::value& condition : array_field(object, "health")) {
    names.push_back(text(condition, "name"));
  }
  return field(object, "health") == nullptr ? "-" : names.empty() ? "ok" : fmt::format("{}", fmt::join(names, ","));
}

void add_health(Lines& lines, const json::value& object) {
  for (const json::value& condition : array_field(object, "health")) {
    lines.emplace_back("health: " + printable(text(condition, "name")), text(condition, "text"));
  }
  if (array_field(object, "health").empty()) {
    lines.emplace_back("health", health(object));
  }
}

}  // namespace flops::report
