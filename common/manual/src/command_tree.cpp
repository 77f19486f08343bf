#include "command_tree.hpp"

#include <algorithm>
#include <set>

#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

namespace flops::manual {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// "table|json (table)": a name, or choices, and a default.
void read_option_text(const std::string& text, Argument& argument) {
  const std::size_t space = text.find(" (");
  argument.value = text.substr(0, space);
  if (space != std::string::npos && text.ends_with(')')) {
    argument.default_text = text.substr(space + 2, text.size() - space - 3);
  }
  if (argument.value.find('|') != std::string::npos) {
    argument.choices = split(argument.value, '|');
  }
}

// "TEXT:{sgd,adam}", "INT:INT in [1 - 10]": a type and what its validators say.
void read_type_name(const std::string& text, Argument& argument) {
  const std::size_t colon = text.find(':');
  argument.value = text.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (rest.starts_with('{') && rest.ends_with('}')) {
    argument.choices = split(rest.substr(1, rest.size() - 2), ',');
    argument.value = joined(argument.choices, "|");
  } else {
    argument.limits = rest;
  }
}

ValueKind kind_of(const Argument& argument) {
  if (!argument.choices.empty()) {
    return ValueKind::choice;
  }
  return argument.value == "FILE" ? ValueKind::file : argument.value == "DIR" ? ValueKind::folder : ValueKind::text;
}

Argument read_option(const CLI::Option& option) {
  Argument argument;
  argument.text = option.get_description();
  argument.required = option.get_required();
  for (const std::string& name : option.get_snames()) {
    argument.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    argument.names.push_back("--" + name);
  }
  if (option.get_items_expected_max() != 0) {
    argument.default_text = option.get_default_str();
    if (option.get_option_text().empty()) {
      read_type_name(option.get_type_name(), argument);
    } else {
      read_option_text(option.get_option_text(), argument);
    }
    argument.kind = kind_of(argument);
  }
  if (option.get_positional() && argument.names.empty()) {
    argument.value = option.get_name();
  }
  return argument;
}

Command read_command(const CLI::App& app, std::vector<std::string> path, std::vector<Argument> above) {
  Command command;
  command.name = app.get_name();
  command.path = std::move(path);
  command.text = app.get_description();
  command.above = std::move(above);
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) {
      Argument argument = read_option(*option);
      (argument.names.empty() ? command.places : command.options).push_back(std::move(argument));
    }
  }
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (below->get_group().empty()) {
      continue;
    }
    std::vector<std::string> path_below = command.path;
    path_below.push_back(below->get_name());
    std::vector<Argument> passed_on = below->get_fallthrough() ? all_options(command) : std::vector<Argument>();
    // Each command has its own help.
    std::erase_if(passed_on, [](const Argument& argument) { return argument.names.back() == "--help"; });
    command.commands.push_back(read_command(*below, std::move(path_below), std::move(passed_on)));
  }
  return command;
}

void flatten(const Command& command, std::vector<const Command*>& into) {
  into.push_back(&command);
  for (const Command& below : command.commands) {
    flatten(below, into);
  }
}

}  // namespace

Command command_tree(const CLI::App& app) {
  return read_command(app, {}, {});
}

std::vector<const Command*> flattened(const Command& root) {
  std::vector<const Command*> all;
  flatten(root, all);
  return all;
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

std::vector<Argument> all_options(const Command& command) {
  std::vector<Argument> all = command.options;
  all.insert(all.end(), command.above.begin(), command.above.end());
  return all;
}

std::vector<std::string> names_with_value(const Command& root) {
  std::set<std::string> names;
  for (const Command* command : flattened(root)) {
    for (const Argument& option : command->options) {
      if (option.kind != ValueKind::none) {
        names.insert(option.names.begin(), option.names.end());
      }
    }
  }
  return {names.begin(), names.end()};
}

std::string function_name(const Command& root) {
  std::string name = "_" + root.name;
  std::ranges::replace(name, '-', '_');
  return name;
}

std::string escaped(std::string_view text, std::string_view special, std::string_view escape) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) {
      out += escape;
    }
    out += c;
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

}  // namespace flops::manual
