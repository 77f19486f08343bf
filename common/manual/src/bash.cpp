// Completion for bash, without the package bash-completion: one function, a branch a command.
#include <algorithm>

#include <fmt/ranges.h>

#include "command_tree.hpp"

namespace flops::manual {
namespace {

std::string reply_with_words(const std::vector<std::string>& words) {
  return fmt::format("mapfile -t COMPREPLY < <(compgen -W {} -- \"$cur\")", quoted(joined(words, " ")));
}

std::string reply_with(const Argument& argument) {
  switch (argument.kind) {
    case ValueKind::choice: return reply_with_words(argument.choices);
    case ValueKind::file: return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
    case ValueKind::folder: return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")";
    default: return "COMPREPLY=()";
  }
}

std::string branch(const Command& command) {
  std::string values;
  std::vector<std::string> words(command.commands.size());
  std::ranges::transform(command.commands, words.begin(), &Command::name);
  for (const Argument& option : all_options(command)) {
    words.insert(words.end(), option.names.begin(), option.names.end());
    if (option.kind != ValueKind::none) {
      values += fmt::format("        {}) {}; return ;;\n", joined(option.names, " | "), reply_with(option));
    }
  }
  for (const Argument& place : command.places) {
    words.insert(words.end(), place.choices.begin(), place.choices.end());
  }
  std::string out = fmt::format("    {})\n", quoted(joined(command.path, " ")));
  if (!values.empty()) {
    out += "      case $prev in\n" + values + "      esac\n";
  }
  return out + "      " + reply_with_words(words) + " ;;\n";
}

}  // namespace

std::string bash_completion(const Command& root) {
  std::vector<std::string> paths;
  std::string branches;
  for (const Command* command : flattened(root)) {
    if (!command->path.empty()) {
      paths.push_back(quoted(joined(command->path, " ")));
    }
    branches += branch(*command);
  }
  const std::string name = function_name(root);
  std::string out = fmt::format(
      "# shellcheck shell=bash\n# Made by '{} completion bash' from its command line.\n\n{}() {{\n"
      "  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} command='' longer i\n"
      "  # --option=value comes as three words.\n"
      "  if [[ $cur == '=' ]]; then\n    cur=''\n"
      "  elif [[ $prev == '=' ]]; then\n    prev=${{COMP_WORDS[COMP_CWORD - 2]}}\n  fi\n"
      "  # Which command the words before name; the values of options are none.\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${{COMP_WORDS[i]}} in\n",
      root.name, name);
  const std::vector<std::string> with_value = names_with_value(root);
  if (!with_value.empty()) {
    out += fmt::format("      {}) ((i++)); continue ;;\n", joined(with_value, " | "));
  }
  out += "    esac\n    longer=\"${command:+$command }${COMP_WORDS[i]}\"\n";
  if (!paths.empty()) {
    out += fmt::format("    case $longer in\n      {}) command=$longer ;;\n    esac\n", joined(paths, " | "));
  }
  out += "  done\n  case $command in\n" + branches + "  esac\n}\n\n";
  return out + fmt::format("complete -F {} {}\n", name, root.name);
}

}  // namespace flops::manual
