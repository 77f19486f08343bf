// Fields of the coordinator's answers as cells of tables and lines of details; "-" where there is nothing.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/value.hpp>

namespace flops::report {

using Lines = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] const boost::json::value* field(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::string text(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::string integer(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::string fixed(const boost::json::value& object, std::string_view name, int digits);
[[nodiscard]] std::string bytes(const boost::json::value& object, std::string_view name);
// Times come as text or as milliseconds since 1970.
[[nodiscard]] std::string time(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::string digest(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::string online(const boost::json::value& device);
[[nodiscard]] std::string data_tags(const boost::json::value& device);
// The reason has a line of its own in the details.
[[nodiscard]] std::string activity(const boost::json::value& device);
// The names of what is wrong, for tables.
[[nodiscard]] std::string health(const boost::json::value& object);
void add_health(Lines& lines, const boost::json::value& object);

}  // namespace flops::report
