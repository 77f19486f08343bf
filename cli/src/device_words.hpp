// What people write about devices on the command line: selectors, labels, settings. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "outcome.hpp"

namespace flops::cli {

// "site=hall-3,rack=2"; empty: everything. exit_usage when it is none.
[[nodiscard]] Outcome<std::map<std::string, std::string>> parse_selector(std::string_view text);
// Of a device as the API tells it.
[[nodiscard]] bool has_labels(const boost::json::value& device, const std::map<std::string, std::string>& labels);
// A value as TOML: numbers, true, false, lists and what is in quotes as they are, everything else in quotes.
[[nodiscard]] std::string as_toml(const std::string& value);

}  // namespace flops::cli
