// Writing to stdout, where scripts read.
#pragma once

#include <string_view>

#include <boost/json/value.hpp>

#include "commands.hpp"
#include "outcome.hpp"

namespace flops::cli {

// exit_failed when stdout cannot be written (closed pipe, full disk).
[[nodiscard]] Outcome<> print(std::string_view text);
// One document on one line.
[[nodiscard]] Outcome<> print_json(const boost::json::value& value);
// The document, or what `view` makes of it.
[[nodiscard]] Outcome<> show(const Context& context, const boost::json::value& value,
                             std::string (*view)(const boost::json::value&));
// Checks an id before it becomes part of an address. exit_usage when it breaks the grammar.
[[nodiscard]] Outcome<> check_id(std::string_view id);

}  // namespace flops::cli
