// Completion for zsh: a function a command, called by the one above.

#include <fmt/ranges.h>

#include "command_tree.hpp"

namespace flops::manual {
namespace {

std::string function_of(const Command& root, const Command& command) {
  std::string name = function_name(root);
  for (const std::string& word : command.path) {
    name += "__" + word;
  }
  return name;
}

// ":name:how to complete it" of _arguments.
std::string value_spec(const Argument& argument) {
  const std::string name = escaped(argument.value, ":\\");
  switch (argument.kind) {
    case ValueKind::choice: return fmt::format(":{}:({})", name, joined(argument.choices, " "));
    case ValueKind::file: return fmt::format(":{}:_files", name);
    case ValueKind::folder: return fmt::format(":{}:_files -/", name);
    case ValueKind::text: return fmt::format(":{}: ", name);
    default: return "";
  }
}

std::string option_spec(const Argument& option) {
  const std::string text = fmt::format("[{}]{}", escaped(option.text, "[]:\\"), value_spec(option));
  if (option.names.size() == 1) {
    return quoted(option.names.front() + text);
  }
  return fmt::format("'({})'{{{}}}{}", joined(option.names, " "), joined(option.names, ","), quoted(text));
}

std::string function_text(const Command& root, const Command& command) {
  std::string out = fmt::format("{}() {{\n", function_of(root, command));
  std::string specs;
  for (const Argument& option : all_options(command)) {
    specs += " \\\n    " + option_spec(option);
  }
  if (command.commands.empty()) {
    for (const Argument& place : command.places) {
      specs += " \\\n    " + quoted(value_spec(place));
    }
    return out + "  _arguments" + specs + "\n}\n\n";
  }
  out += "  local curcontext=$curcontext state line\n  local -A opt_args\n  local -a commands=(\n";
  std::string calls;
  for (const Command& below : command.commands) {
    out += fmt::format("    {}\n", quoted(below.name + ":" + escaped(below.text, ":\\")));
    calls += fmt::format("        {}) {} ;;\n", below.name, function_of(root, below));
  }
  out += "  )\n  _arguments -C" + specs + " \\\n    '1: :->command' '*:: :->arguments'\n";
  out += "  case $state in\n    command) _describe -t commands command commands ;;\n    arguments)\n";
  return out + "      case $line[1] in\n" + calls + "      esac ;;\n  esac\n}\n\n";
}

}  // namespace

std::string zsh_completion(const Command& root) {
  std::string out = fmt::format("#compdef {0}\n# Made by '{0} completion zsh' from its command line.\n\n", root.name);
  for (const Command* command : flattened(root)) {
    out += function_text(root, *command);
  }
  // Autoloaded, the file is the function; sourced, it registers it.
  return out + fmt::format("if [ \"$funcstack[1]\" = {0} ]; then\n  {1} \"$@\"\nelse\n  compdef {1} {2}\nfi\n",
                           quoted("_" + root.name), function_name(root), root.name);
}

}  // namespace flops::manual
