#include "flops/core/config.hpp"

#include <algorithm>
#include <utility>

#include "config_row.hpp"
#include "flops/core/file.hpp"

namespace flops {

struct ConfigSpec::Reading {
  std::string name;
  std::filesystem::path folder;
  std::vector<std::pair<std::size_t, std::string>> issues;  // line (0: none), message

  void report(std::size_t line, std::string message) { issues.emplace_back(line, std::move(message)); }
};

namespace {

std::size_t line_of_node(const toml::node& node) {
  return node.source().begin.line;
}

// "training.epochs = 5" is TOML as it is; what is none is text without its quotes, unless it has some.
std::string as_toml(const std::string& line, std::size_t equals) {
  const std::size_t begin = std::min(line.find_first_not_of(" \t", equals + 1), line.size());
  const std::string value = line.substr(begin);
  if (value.empty() || value.find_first_of("\"'\\#[{") != std::string::npos) {
    return line;
  }
  try {
    (void)toml::parse("value = " + value);
    return line;
  } catch (const toml::parse_error&) {
    return fmt::format("{} = {}", line.substr(0, equals), toml_text(value));
  }
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

void ConfigSpec::read_table(Reading& reading, const void* raw, const std::string& prefix) {
  const toml::table& table = *static_cast<const toml::table*>(raw);
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const auto row = std::ranges::find(rows_, key, &Row::key);
    if (row == rows_.end()) {
      const bool section =
          std::ranges::any_of(rows_, [&](const Row& candidate) { return candidate.key.starts_with(key + "."); });
      if (section && node.is_table()) {
        lines_[key] = line_of_node(node);
        read_table(reading, node.as_table(), key + ".");
        continue;
      }
      std::vector<std::string> known;
      std::ranges::transform(rows_, std::back_inserter(known), &Row::key);
      const std::string hint = nearest(key, known);
      reading.report(line_of_node(node), hint.empty() ? fmt::format("unknown key '{}'", key)
                                                      : fmt::format("unknown key '{}'; did you mean '{}'?", key, hint));
      continue;
    }
    lines_[key] = line_of_node(node);
    if (row->begin_element) {
      const auto* elements = node.as_array();
      if (elements == nullptr || !elements->is_array_of_tables()) {
        reading.report(line_of_node(node), fmt::format("'{}': expected [[{}]] tables", key, key));
        continue;
      }
      for (const toml::node& element : *elements) {
        ConfigSpec element_spec(program_);
        row->begin_element(element_spec);
        element_spec.read_table(reading, element.as_table(), "");
        for (const Row& inner : element_spec.rows_) {
          if (inner.presence == Presence::required && !element.as_table()->at_path(inner.key)) {
            reading.report(line_of_node(element),
                           fmt::format("[[{}]]: '{}' is missing: {}", key, inner.key, inner.doc));
          }
        }
      }
      continue;
    }
    if (std::string problem = row->read(node, reading.folder); !problem.empty()) {
      reading.report(line_of_node(node), fmt::format("'{}': {}", key, problem));
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

Result<> ConfigSpec::set(const std::string& line, const std::filesystem::path& folder) {
  const std::size_t equals = line.find('=');
  if (equals == std::string::npos || line.find_first_of("\r\n") != std::string::npos) {
    return fail(ErrorKind::permanent, "'{}' is not key=value", line);
  }
  Reading reading{"", std::filesystem::absolute(folder), {}};
  std::map<std::string, std::size_t> before = std::exchange(lines_, {});
  try {
    const toml::table table = toml::parse(as_toml(line, equals));
    read_table(reading, &table, "");
  } catch (const std::exception& error) {
    reading.report(0, error.what());
  }
  for (const auto& [key, line_of_this] : std::exchange(lines_, std::move(before))) {
    lines_[key] = 0;
  }
  if (!reading.issues.empty()) {
    return fail(ErrorKind::permanent, "'{}': {}", line, reading.issues.front().second);
  }
  return {};
}

std::size_t ConfigSpec::line_of(const std::string& key) const {
  const auto found = lines_.find(key);
  return found == lines_.end() ? 0 : found->second;
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
      const char* before = row.presence == Presence::required ? "# (required) " : row.fill_in ? "# " : "";
      out += fmt::format("# {}\n{}{} = {}\n", row.doc, before,
                         dot == std::string::npos ? row.key : row.key.substr(dot + 1), row.default_text);
    }
  }
  return out;
}

}  // namespace flops
