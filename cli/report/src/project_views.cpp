// Projects as text.
#include <fmt/format.h>

#include "cells.hpp"
#include "flops/report/text.hpp"
#include "flops/report/views.hpp"

namespace flops::report {

namespace json = boost::json;

namespace {

std::string tags_of(const json::value& project) {
  std::string out;
  for (const json::value& tag : array_field(project, "tags")) {
    const auto* text = tag.if_string();
    out += (out.empty() ? "" : ", ") + (text == nullptr ? std::string("-") : printable(*text));
  }
  return out.empty() ? "-" : out;
}

std::string round_of(const json::value& run) {
  return fmt::format("{}/{}", integer(run, "round"), integer(run, "rounds_total"));
}

// The first 12 digits, as people name commits.
std::string commit_of(const json::value& run) {
  return text(run, "commit").substr(0, 12);
}

}  // namespace

// With the newest run of each.
std::string projects_table(const json::value& answer) {
  Table table({{"PROJECT"},
               {"OWNER"},
               {"RUNS", Align::right},
               {"RUN"},
               {"STATE"},
               {"ROUND", Align::right},
               {"ACCURACY", Align::right},
               {"LOSS", Align::right},
               {"DESCRIPTION"}});
  for (const json::value& project : array_field(answer, "projects")) {
    const json::array& runs = array_field(project, "runs");
    const json::value newest = runs.empty() ? json::value(json::object()) : runs.front();
    table.add({text(project, "name"), text(project, "owner"), fmt::format("{}", runs.size()), text(newest, "id"),
               text(newest, "state"), runs.empty() ? "-" : round_of(newest), fixed(newest, "accuracy", 4),
               fixed(newest, "loss", 4), text(project, "description")});
  }
  return table.text();
}

std::string project_details(const json::value& project) {
  std::string out = details({{"project", text(project, "name")},
                             {"owner", text(project, "owner")},
                             {"description", text(project, "description")},
                             {"tags", tags_of(project)},
                             {"created", time(project, "created_at")}});
  const json::array& runs = array_field(project, "runs");
  if (runs.empty()) {
    return out;
  }
  Table table({{"RUN"},
               {"STATE"},
               {"ROUND", Align::right},
               {"ACCURACY", Align::right},
               {"LOSS", Align::right},
               {"COMMIT"},
               {"CREATED"},
               {"REASON"}});
  for (const json::value& run : runs) {
    table.add({text(run, "id"), text(run, "state"), round_of(run), fixed(run, "accuracy", 4), fixed(run, "loss", 4),
               commit_of(run), time(run, "created_at"), text(run, "reason")});
  }
  return out + "\n" + table.text();
}

}  // namespace flops::report
