#include "outcome.hpp"

#include <boost/json.hpp>

#include "flops/core/file.hpp"

namespace flops::faults {

namespace json = boost::json;

Result<> save(const Outcome& outcome, const std::filesystem::path& file) {
  const json::object document{{"row", outcome.row},
                              {"problems", json::value_from(outcome.problems)},
                              {"skipped", outcome.skipped},
                              {"seconds", outcome.seconds},
                              {"faults", json::value_from(outcome.faults)},
                              {"slowest_recovery", json::value_from(outcome.slowest_recovery)},
                              {"models", json::value_from(outcome.models)}};
  return replace_file(file, json::serialize(document) + "\n");
}

Result<Outcome> load_outcome(const std::filesystem::path& file) {
  auto text = read_file(file);
  if (!text) {
    return fail(text.error());
  }
  try {
    const json::value document = json::parse(*text);
    Outcome outcome;
    outcome.row = json::value_to<std::string>(document.at("row"));
    outcome.problems = json::value_to<std::vector<std::string>>(document.at("problems"));
    outcome.skipped = json::value_to<std::string>(document.at("skipped"));
    outcome.seconds = document.at("seconds").to_number<double>();
    outcome.faults = json::value_to<std::map<std::string, int>>(document.at("faults"));
    outcome.slowest_recovery = json::value_to<std::map<std::string, double>>(document.at("slowest_recovery"));
    outcome.models = json::value_to<std::vector<std::string>>(document.at("models"));
    return outcome;
  } catch (const std::exception& error) {
    return fail(ErrorKind::corrupt, "{}: {}", file.string(), error.what());
  }
}

}  // namespace flops::faults
