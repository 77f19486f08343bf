// Completion for fish: a function that says which command the words before name, and a line an option.

#include <fmt/ranges.h>

#include "command_tree.hpp"

namespace flops::manual {
namespace {

std::string fish_quoted(std::string_view text) {
  return "'" + escaped(text, "'\\") + "'";
}

std::string value_of(const Argument& argument) {
  switch (argument.kind) {
    case ValueKind::choice: return " -x -a " + fish_quoted(joined(argument.choices, " "));
    case ValueKind::file: return " -r -F";
    case ValueKind::folder: return " -x -a '(__fish_complete_directories)'";
    case ValueKind::text: return " -x";
    default: return "";
  }
}

std::string names_of(const Argument& argument) {
  std::string out;
  for (const std::string& name : argument.names) {
    out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  return out;
}

std::string lines_of(const Command& root, const Command& command) {
  const std::string begin =
      fmt::format("complete -c {} -n {}", root.name,
                  fish_quoted(fmt::format("_{} {}", function_name(root), fish_quoted(joined(command.path, " ")))));
  std::string out;
  for (const Command& below : command.commands) {
    out += fmt::format("{} -a {} -d {}\n", begin, below.name, fish_quoted(below.text));
  }
  for (const Argument& option : all_options(command)) {
    out += begin + names_of(option) + value_of(option) + " -d " + fish_quoted(option.text) + "\n";
  }
  for (const Argument& place : command.places) {
    if (place.kind != ValueKind::text) {
      out += begin + value_of(place) + " -d " + fish_quoted(place.text) + "\n";
    }
  }
  return out;
}

}  // namespace

std::string fish_completion(const Command& root) {
  std::string paths;
  std::string lines;
  for (const Command* command : flattened(root)) {
    if (!command->path.empty()) {
      paths += " " + fish_quoted(joined(command->path, " "));
    }
    lines += lines_of(root, *command);
  }
  std::string out = fmt::format(
      "# Made by '{0} completion fish' from its command line.\n\n"
      "# Whether the words before the cursor name this command; the values of options are none.\n"
      "function _{1}\n  set -l found\n  set -l value no\n  for word in (commandline -opc)[2..]\n"
      "    if test $value = yes\n      set value no\n      continue\n    end\n    switch $word\n",
      root.name, function_name(root));
  const std::vector<std::string> with_value = names_with_value(root);
  if (!with_value.empty()) {
    out += fmt::format("      case {}\n        set value yes\n        continue\n", joined(with_value, " "));
  }
  out += "      case '*'\n        set -l longer (string join -- ' ' $found $word)\n";
  out += fmt::format("        contains -- $longer{}; and set -a found $word\n", paths);
  out +=
      "    end\n  end\n  test (string join ' ' x $found) = (string join ' ' x (string split -n ' ' -- "
      "$argv[1]))\nend\n\n";
  return out + fmt::format("complete -c {} -f\n", root.name) + lines;
}

}  // namespace flops::manual
