#include "api_body.hpp"

#include <boost/json.hpp>

namespace flops::coordinator {

namespace json = boost::json;

Result<json::object> parse_body(const std::string& body) {
  json::parse_options options;
  options.max_depth = 4;
  json::error_code error;
  json::value value = json::parse(body.empty() ? "{}" : body, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorKind::permanent, "the body must be a JSON object");
  }
  return std::move(value.get_object());
}

std::string text_field(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  const auto* string = value != nullptr ? value->if_string() : nullptr;
  return string != nullptr ? std::string(string->data(), string->size()) : std::string();
}

Result<std::int64_t> integer_field(const json::object& object, std::string_view name, std::int64_t fallback,
                                   std::int64_t min, std::int64_t max) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) {
    return fallback;
  }
  const auto* number = value->if_int64();
  if (number == nullptr || *number < min || *number > max) {
    return fail(ErrorKind::permanent, "'{}': expected an integer from {} to {}", name, min, max);
  }
  return *number;
}

Result<bool> boolean_field(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) {
    return false;
  }
  if (!value->is_bool()) {
    return fail(ErrorKind::permanent, "'{}': expected true or false", name);
  }
  return value->get_bool();
}

}  // namespace flops::coordinator
