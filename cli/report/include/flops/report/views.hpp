// The coordinator's answers (docs/protocol.md, "HTTP API") as text. Fields that are absent, null or of another type are
// shown as "-": a newer or older coordinator never breaks the tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "flops/report/table.hpp"

namespace flops::report {

// One field of an object, if it is there and of that type. Integers are numbers too.
[[nodiscard]] std::optional<std::string> text_field(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::optional<double> number_field(const boost::json::value& object, std::string_view name);
[[nodiscard]] std::optional<std::int64_t> integer_field(const boost::json::value& object, std::string_view name);
// The array of that name, or an empty one.
[[nodiscard]] const boost::json::array& array_field(const boost::json::value& object, std::string_view name);

[[nodiscard]] std::string tokens_table(const boost::json::value& answer);
[[nodiscard]] std::string devices_table(const boost::json::value& answer);
[[nodiscard]] std::string status_details(const boost::json::value& status);
[[nodiscard]] std::string device_details(const boost::json::value& device);
// What may change of it from second to second, on one line.
[[nodiscard]] std::string device_line(const boost::json::value& device);
[[nodiscard]] std::string report_text(const boost::json::value& answer);  // what a device told, made harmless
[[nodiscard]] std::string access_table(const boost::json::value& answer);
[[nodiscard]] std::string audit_table(const boost::json::value& answer);
[[nodiscard]] std::string projects_table(const boost::json::value& answer);
[[nodiscard]] std::string project_details(const boost::json::value& project);  // with its runs
[[nodiscard]] std::string runs_table(const boost::json::value& answer);
[[nodiscard]] std::string run_details(const boost::json::value& run);  // with its rounds and clusters
[[nodiscard]] std::string clusters_table(const boost::json::value& answer);
[[nodiscard]] std::string cluster_details(const boost::json::value& cluster);  // with its devices and rounds
[[nodiscard]] std::string models_table(const boost::json::value& answer);

// Rounds, one row each: round, accuracy, loss, participants, late, dropped, bytes up, bytes down, seconds.
[[nodiscard]] Table rounds_table();
[[nodiscard]] Cells round_cells(const boost::json::value& round);

}  // namespace flops::report
