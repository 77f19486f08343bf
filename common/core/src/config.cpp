#include "flops/core/config.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include <toml++/toml.h>

#include "flops/core/file.hpp"

namespace flops {

// What a row does with a node of its file: returns what is wrong, or nothing.
struct ConfigSpec::Row {
  std::string key;
  std::string type;
  std::string default_text;  // as TOML; empty: no default to show
  std::string doc;
  Presence presence = Presence::optional;
  std::function<std::string(const toml::node&, const std::filesystem::path& folder)> read;
  bool free_table = false;                         // keys below are the user's own
  std::function<void(ConfigSpec&)> begin_element;  // array of tables
};

struct ConfigSpec::Reading {
  std::string name;
  std::filesystem::path folder;
  std::vector<std::pair<std::size_t, std::string>> issues;  // line (0: none), message

  void report(std::size_t line, std::string message) { issues.emplace_back(line, std::move(message)); }
};

namespace {

std::string toml_text(std::string_view text) {
  return fmt::format("\"{}\"", text);
}

std::size_t line_of(const toml::node& node) {
  return node.source().begin.line;
}

std::string describe(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "text";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true/false";
    case toml::node_type::array: return "an array";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

std::string wrong_type(std::string_view expected, const toml::node& node) {
  return fmt::format("expected {}, found {}", expected, describe(node));
}

struct Unit {
  std::string_view suffix;
  std::int64_t milliseconds;
};
constexpr Unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

bool parse_duration(std::string_view text, std::chrono::milliseconds& into) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units) {
    std::int64_t product = 0;
    if (error == std::errc() && suffix == unit.suffix && value >= 0 &&
        !__builtin_mul_overflow(value, unit.milliseconds, &product)) {
      into = std::chrono::milliseconds(product);
      return true;
    }
  }
  return false;
}

std::string duration_text(std::chrono::milliseconds value) {
  const auto count = value.count();
  for (const Unit& unit : {units[4], units[3], units[2], units[1]}) {
    if (count != 0 && count % unit.milliseconds == 0) {
      return fmt::format("{}{}", count / unit.milliseconds, unit.suffix);
    }
  }
  return fmt::format("{}ms", count);
}

// The nearest known key, for "did you mean"; empty when none is near.
std::string nearest(const std::string& key, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = 3;
  for (const std::string& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j <= candidate.size(); ++j) {
      row[j] = j;
    }
    for (std::size_t i = 1; i <= key.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t substituted = diagonal + (key[i - 1] == candidate[j - 1] ? 0U : 1U);
        diagonal = row[j];
        row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace

ConfigSpec::ConfigSpec(std::string program) : program_(std::move(program)) {}
ConfigSpec::~ConfigSpec() = default;

void ConfigSpec::add(Row row) {
  rows_.push_back(std::move(row));
}

void ConfigSpec::text(std::string key, std::string& target, std::string doc, Presence presence, Check check) {
  auto read = [&target, check = std::move(check)](const toml::node& node, const auto&) -> std::string {
    const auto* value = node.as_string();
    if (value == nullptr) {
      return wrong_type("text", node);
    }
    if (check) {
      if (std::string problem = check(value->get()); !problem.empty()) {
        return problem;
      }
    }
    target = value->get();
    return {};
  };
  add({std::move(key), "text", toml_text(target), std::move(doc), presence, std::move(read), false, {}});
}

void ConfigSpec::path(std::string key, std::filesystem::path& target, std::string doc, Presence presence) {
  auto read = [&target](const toml::node& node, const std::filesystem::path& folder) -> std::string {
    const auto* value = node.as_string();
    if (value == nullptr || value->get().empty()) {
      return value == nullptr ? wrong_type("a path", node) : "expected a path, found empty text";
    }
    target = folder / value->get();
    return {};
  };
  add({std::move(key), "path", toml_text(target.string()), std::move(doc), presence, std::move(read), false, {}});
}

void ConfigSpec::choice(std::string key, std::string& target, std::vector<std::string> allowed, std::string doc) {
  doc += fmt::format(" (one of: {})", fmt::join(allowed, ", "));
  auto check = [allowed = std::move(allowed)](const std::string& value) -> std::string {
    if (std::ranges::find(allowed, value) == allowed.end()) {
      return fmt::format("'{}' is none of: {}", value, fmt::join(allowed, ", "));
    }
    return {};
  };
  text(std::move(key), target, std::move(doc), Presence::optional, std::move(check));
}

void ConfigSpec::integer(std::string key, std::int64_t& target, std::int64_t min, std::int64_t max, std::string doc) {
  doc += fmt::format(" ({} to {})", min, max);
  auto read = [&target, min, max](const toml::node& node, const auto&) -> std::string {
    const auto* value = node.as_integer();
    if (value == nullptr) {
      return wrong_type("an integer", node);
    }
    if (value->get() < min || value->get() > max) {
      return fmt::format("{} is out of range: {} to {}", value->get(), min, max);
    }
    target = value->get();
    return {};
  };
  add({std::move(key),
       "integer",
       fmt::format("{}", target),
       std::move(doc),
       Presence::optional,
       std::move(read),
       false,
       {}});
}

void ConfigSpec::number(std::string key, double& target, double min, double max, std::string doc) {
  doc += fmt::format(" ({} to {})", min, max);
  auto read = [&target, min, max](const toml::node& node, const auto&) -> std::string {
    if (!node.is_number()) {
      return wrong_type("a number", node);
    }
    const double value = node.value<double>().value_or(0);
    if (!(value >= min && value <= max)) {
      return fmt::format("{} is out of range: {} to {}", value, min, max);
    }
    target = value;
    return {};
  };
  add({std::move(key),
       "number",
       fmt::format("{}", target),
       std::move(doc),
       Presence::optional,
       std::move(read),
       false,
       {}});
}

void ConfigSpec::boolean(std::string key, bool& target, std::string doc) {
  auto read = [&target](const toml::node& node, const auto&) -> std::string {
    const auto* value = node.as_boolean();
    if (value == nullptr) {
      return wrong_type("true or false", node);
    }
    target = value->get();
    return {};
  };
  add({std::move(key),
       "boolean",
       target ? "true" : "false",
       std::move(doc),
       Presence::optional,
       std::move(read),
       false,
       {}});
}

void ConfigSpec::duration(std::string key, std::chrono::milliseconds& target, std::chrono::milliseconds min,
                          std::chrono::milliseconds max, std::string doc) {
  doc += fmt::format(" ({} to {})", duration_text(min), duration_text(max));
  auto read = [&target, min, max](const toml::node& node, const auto&) -> std::string {
    const auto* text = node.as_string();
    std::chrono::milliseconds value{};
    if (text == nullptr || !parse_duration(text->get(), value)) {
      return R"(expected a duration such as "250ms", "30s", "5m", "12h" or "7d")";
    }
    if (value < min || value > max) {
      return fmt::format("{} is out of range: {} to {}", text->get(), duration_text(min), duration_text(max));
    }
    target = value;
    return {};
  };
  add({std::move(key),
       "duration",
       toml_text(duration_text(target)),
       std::move(doc),
       Presence::optional,
       std::move(read),
       false,
       {}});
}

void ConfigSpec::text_map(std::string key, std::map<std::string, std::string>& target, std::string doc) {
  auto read = [&target](const toml::node& node, const auto&) -> std::string {
    const auto* table = node.as_table();
    if (table == nullptr) {
      return wrong_type("a table", node);
    }
    std::map<std::string, std::string> values;
    for (const auto& [name, value] : *table) {
      const auto* value_text = value.as_string();
      if (value_text == nullptr) {
        return fmt::format("'{}': {}", name.str(), wrong_type("text", value));
      }
      values.emplace(name.str(), value_text->get());
    }
    target = std::move(values);
    return {};
  };
  add({std::move(key), "table of text", "", std::move(doc), Presence::optional, std::move(read), true, {}});
}

void ConfigSpec::tables(std::string key, std::function<void(ConfigSpec&)> begin, std::string doc) {
  add({std::move(key), "array of tables", "", std::move(doc), Presence::optional, {}, true, std::move(begin)});
}

void ConfigSpec::read_table(Reading& reading, const void* raw, const std::string& prefix) const {
  const toml::table& table = *static_cast<const toml::table*>(raw);
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const auto row = std::ranges::find(rows_, key, &Row::key);
    if (row == rows_.end()) {
      const bool section =
          std::ranges::any_of(rows_, [&](const Row& candidate) { return candidate.key.starts_with(key + "."); });
      if (section && node.is_table()) {
        read_table(reading, node.as_table(), key + ".");
        continue;
      }
      std::vector<std::string> known;
      std::ranges::transform(rows_, std::back_inserter(known), &Row::key);
      const std::string hint = nearest(key, known);
      reading.report(line_of(node), hint.empty() ? fmt::format("unknown key '{}'", key)
                                                 : fmt::format("unknown key '{}'; did you mean '{}'?", key, hint));
      continue;
    }
    if (row->begin_element) {
      const auto* elements = node.as_array();
      if (elements == nullptr || !elements->is_array_of_tables()) {
        reading.report(line_of(node), fmt::format("'{}': expected [[{}]] tables", key, key));
        continue;
      }
      for (const toml::node& element : *elements) {
        ConfigSpec element_spec(program_);
        row->begin_element(element_spec);
        element_spec.read_table(reading, element.as_table(), "");
        for (const Row& inner : element_spec.rows_) {
          if (inner.presence == Presence::required && !element.as_table()->at_path(inner.key)) {
            reading.report(line_of(element), fmt::format("[[{}]]: '{}' is missing: {}", key, inner.key, inner.doc));
          }
        }
      }
      continue;
    }
    if (std::string problem = row->read(node, reading.folder); !problem.empty()) {
      reading.report(line_of(node), fmt::format("'{}': {}", key, problem));
    }
  }
}

Result<> ConfigSpec::load(const std::filesystem::path& file) {
  auto content = read_file(file);
  if (!content) {
    return fail(content.error());
  }
  return parse(*content, file.string());
}

Result<> ConfigSpec::parse(std::string_view text, const std::string& name) {
  Reading reading{name, std::filesystem::absolute(name).parent_path(), {}};
  try {
    const toml::table table = toml::parse(text, name);
    read_table(reading, &table, "");
    for (const Row& row : rows_) {
      if (row.presence == Presence::required && !table.at_path(row.key)) {
        reading.report(0, fmt::format("'{}' is missing: {}", row.key, row.doc));
      }
    }
  } catch (const toml::parse_error& error) {
    reading.report(error.source().begin.line, std::string(error.description()));
  } catch (const std::exception& error) {
    reading.report(0, error.what());
  }
  if (reading.issues.empty()) {
    return {};
  }
  std::ranges::stable_sort(reading.issues, {}, &std::pair<std::size_t, std::string>::first);
  std::vector<std::string> lines;
  lines.reserve(reading.issues.size());
  for (const auto& [line, message] : reading.issues) {
    lines.push_back(line == 0 ? fmt::format("{}: {}", name, message) : fmt::format("{}:{}: {}", name, line, message));
  }
  return fail(ErrorKind::permanent, "{}", fmt::join(lines, "\n"));
}

std::string ConfigSpec::reference() const {
  std::string out = fmt::format("# {}: every setting with its default. Copy what you change.\n", program_);
  std::string section;
  for (const bool top_level : {true, false}) {
    for (const Row& row : rows_) {
      const std::size_t dot = row.key.rfind('.');
      if ((dot == std::string::npos && !row.begin_element && !row.free_table) != top_level) {
        continue;
      }
      if (row.begin_element) {
        ConfigSpec element(program_);
        row.begin_element(element);
        out += fmt::format("\n# {}\n# [[{}]]\n", row.doc, row.key);
        for (const Row& inner : element.rows_) {
          out += fmt::format("#   {} = {}   # {}\n", inner.key, inner.default_text, inner.doc);
        }
        continue;
      }
      if (row.free_table) {
        out += fmt::format("\n# {}\n# [{}]\n", row.doc, row.key);
        continue;
      }
      const std::string row_section = dot == std::string::npos ? "" : row.key.substr(0, dot);
      if (row_section != section) {
        section = row_section;
        out += fmt::format("\n[{}]\n", section);
      }
      // An empty path is no value: it stands there to be filled in.
      const bool none = row.type == "path" && row.default_text == toml_text("");
      const char* before = row.presence == Presence::required ? "# (required) " : none ? "# " : "";
      out += fmt::format("# {}\n{}{} = {}\n", row.doc, before,
                         dot == std::string::npos ? row.key : row.key.substr(dot + 1), row.default_text);
    }
  }
  return out;
}

}  // namespace flops
