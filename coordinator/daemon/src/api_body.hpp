// Reading the JSON body of a request, field by field. Errors are permanent and say which field, and what it should be.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "flops/core/error.hpp"

namespace flops::coordinator {

// Nested at most 4 deep; an empty body is an empty object.
[[nodiscard]] Result<boost::json::object> parse_body(const std::string& body);
// Empty when it is missing or no text.
[[nodiscard]] std::string text_field(const boost::json::object& object, std::string_view name);
[[nodiscard]] Result<std::int64_t> integer_field(const boost::json::object& object, std::string_view name,
                                                 std::int64_t fallback, std::int64_t min, std::int64_t max);
// false when it is missing.
[[nodiscard]] Result<bool> boolean_field(const boost::json::object& object, std::string_view name);

}  // namespace flops::coordinator
