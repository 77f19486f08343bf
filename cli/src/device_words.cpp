#include "device_words.hpp"

#include <charconv>

#include <boost/json/object.hpp>

namespace flops::cli {

Outcome<std::map<std::string, std::string>> parse_selector(std::string_view text) {
  std::map<std::string, std::string> labels;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const auto equals = item.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return give_up(exit_usage, "'{}' selects nothing: expected NAME=VALUE, several with commas between", item);
    }
    labels[std::string(item.substr(0, equals))] = item.substr(equals + 1);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return labels;
}

bool has_labels(const boost::json::value& device, const std::map<std::string, std::string>& labels) {
  const auto* fields = device.if_object();
  const auto* found = fields == nullptr ? nullptr : fields->if_contains("labels");
  const auto* object = found == nullptr ? nullptr : found->if_object();
  for (const auto& [name, value] : labels) {
    const auto* label = object == nullptr ? nullptr : object->if_contains(name);
    if (label == nullptr || !label->is_string() || label->get_string() != boost::json::string_view(value)) {
      return false;
    }
  }
  return true;
}

std::string as_toml(const std::string& value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool is_number = error == std::errc() && end == value.data() + value.size();
  const bool as_it_is = is_number || value == "true" || value == "false" || value.starts_with('[') ||
                        value.starts_with('"') || value.starts_with('\'');
  if (as_it_is) {
    return value;
  }
  std::string quoted = "\"";
  for (const char c : value) {
    quoted += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  }
  return quoted + "\"";
}

}  // namespace flops::cli
