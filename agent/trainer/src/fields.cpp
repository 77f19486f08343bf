#include "fields.hpp"

#include <algorithm>
#include <limits>

namespace flops::trainer {

namespace json = boost::json;

Result<json::object> parse_object(std::string_view text) {
  if (text.size() > max_packet) {
    return fail(ErrorKind::permanent, "{} bytes exceed the limit of {}", text.size(), max_packet);
  }
  constexpr std::size_t max_depth = 4;
  json::parse_options options;
  options.max_depth = max_depth;
  boost::system::error_code error;
  json::value value = json::parse(text, error, {}, options);
  if (error) {
    return fail(ErrorKind::permanent, "not JSON: {}", error.message());
  }
  if (!value.is_object()) {
    return fail(ErrorKind::permanent, "not a JSON object");
  }
  return std::move(value.as_object());
}

const json::value* Fields::take(std::string_view name) {
  taken_.push_back(name);
  const json::value* value = object_.if_contains(name);
  if (value == nullptr) {
    complain(name, "is missing");
  }
  return value;
}

void Fields::complain(std::string_view name, std::string_view what) {
  if (complaint_.empty()) {
    complaint_ = fmt::format("'{}{}' {}", where_, name, what);
  }
}

std::string Fields::text(std::string_view name, std::size_t max_bytes) {
  const json::value* value = take(name);
  if (value == nullptr) {
    return {};
  }
  if (!value->is_string()) {
    complain(name, "must be a string");
    return {};
  }
  const json::string& found = value->get_string();
  if (found.size() > max_bytes) {
    complain(name, fmt::format("has {} bytes; at most {} are allowed", found.size(), max_bytes));
    return {};
  }
  if (found.find('\0') != json::string::npos) {
    complain(name, "contains a NUL");
    return {};
  }
  return {found.data(), found.size()};
}

std::int64_t Fields::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  const json::value* value = take(name);
  if (value == nullptr) {
    return min;
  }
  boost::system::error_code error;
  const auto found = value->is_double() ? 0 : value->to_number<std::int64_t>(error);
  if (value->is_double() || error || found < min || found > max) {
    complain(name, fmt::format("must be an integer from {} to {}", min, max));
    return min;
  }
  return found;
}

std::uint64_t Fields::natural(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) {
    return 0;
  }
  boost::system::error_code error;
  const auto found = value->is_double() ? 0 : value->to_number<std::uint64_t>(error);
  if (value->is_double() || error) {
    complain(name, "must be an integer from 0 to 18446744073709551615");
    return 0;
  }
  return found;
}

double Fields::number(std::string_view name, double min, double max) {
  const json::value* value = take(name);
  if (value == nullptr) {
    return min;
  }
  boost::system::error_code error;
  const auto found = value->to_number<double>(error);
  if (error || !std::isfinite(found) || found < min || found > max) {
    complain(name, fmt::format("must be a number from {} to {}", min, max));
    return min;
  }
  return found;
}

bool Fields::boolean(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) {
    return false;
  }
  if (!value->is_bool()) {
    complain(name, "must be true or false");
    return false;
  }
  return value->get_bool();
}

const json::object& Fields::object(std::string_view name) {
  static const json::object none;
  const json::value* value = take(name);
  if (value == nullptr) {
    return none;
  }
  if (!value->is_object()) {
    complain(name, "must be an object");
    return none;
  }
  return value->get_object();
}

const json::array& Fields::array(std::string_view name, std::size_t max_items) {
  static const json::array none;
  const json::value* value = take(name);
  if (value == nullptr) {
    return none;
  }
  if (!value->is_array() || value->get_array().size() > max_items) {
    complain(name, fmt::format("must be a list of at most {} items", max_items));
    return none;
  }
  return value->get_array();
}

Result<> Fields::done() {
  for (const auto& item : object_) {
    if (std::find(taken_.begin(), taken_.end(), std::string_view(item.key())) == taken_.end()) {
      complain(std::string_view(item.key()).substr(0, 64), "is not known");
    }
  }
  if (!complaint_.empty()) {
    return fail(ErrorKind::permanent, "{}", complaint_);
  }
  return {};
}

boost::json::object place_object(const Place& place) {
  return {{"offset", place.offset}, {"bytes", place.bytes}};
}

Result<Place> read_place(const boost::json::object& object, std::string where) {
  constexpr std::uint64_t max_end = 1ULL << 40U;
  Fields fields(object, std::move(where));
  const Place place{fields.natural("offset"), fields.natural("bytes")};
  if (place.offset > max_end || place.bytes > max_end) {
    fields.complain("offset", "lies too far");
  }
  if (auto done = fields.done(); !done) {
    return fail(done.error());
  }
  return place;
}

}  // namespace flops::trainer
