// The kinds of rows.
#include <algorithm>
#include <charconv>
#include <iterator>

#include "config_row.hpp"

namespace flops {
namespace {

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

}  // namespace

void ConfigSpec::text(std::string key, std::string& target, std::string doc, Presence presence, Check check) {
  const bool fill_in = check && !check(target).empty();
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
  add({std::move(key), "text", toml_text(target), std::move(doc), presence, std::move(read), false, {}, fill_in});
}

namespace {

enum class BareName { in_folder, stays };

auto path_reader(std::filesystem::path& target, BareName bare) {
  return [&target, bare](const toml::node& node, const std::filesystem::path& folder) -> std::string {
    const auto* value = node.as_string();
    if (value == nullptr || value->get().empty()) {
      return value == nullptr ? wrong_type("a path", node) : "expected a path, found empty text";
    }
    const bool stays = bare == BareName::stays && value->get().find('/') == std::string::npos;
    target = stays ? std::filesystem::path(value->get()) : folder / value->get();
    return {};
  };
}

}  // namespace

void ConfigSpec::path(std::string key, std::filesystem::path& target, std::string doc, Presence presence) {
  add({std::move(key),
       "path",
       toml_text(target.string()),
       std::move(doc),
       presence,
       path_reader(target, BareName::in_folder),
       false,
       {},
       target.empty()});
}

void ConfigSpec::program(std::string key, std::filesystem::path& target, std::string doc) {
  add({std::move(key),
       "path",
       toml_text(target.string()),
       std::move(doc),
       Presence::optional,
       path_reader(target, BareName::stays),
       false,
       {},
       target.empty()});
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

void ConfigSpec::texts(std::string key, std::vector<std::string>& target, std::size_t max_count, std::string doc,
                       Check check) {
  auto read = [&target, max_count, check = std::move(check)](const toml::node& node, const auto&) -> std::string {
    const auto* array = node.as_array();
    if (array == nullptr) {
      return wrong_type("a list of texts", node);
    }
    if (array->size() > max_count) {
      return fmt::format("{} texts; at most {}", array->size(), max_count);
    }
    std::vector<std::string> values;
    for (const toml::node& element : *array) {
      const auto* value = element.as_string();
      if (value == nullptr) {
        return wrong_type("text", element);
      }
      if (std::string problem = check ? check(value->get()) : ""; !problem.empty()) {
        return problem;
      }
      values.push_back(value->get());
    }
    target = std::move(values);
    return {};
  };
  std::vector<std::string> shown;
  std::ranges::transform(target, std::back_inserter(shown), toml_text);
  add({std::move(key),
       "list of texts",
       fmt::format("[{}]", fmt::join(shown, ", ")),
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

}  // namespace flops
