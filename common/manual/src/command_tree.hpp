// A command line as values: what all the writers of this library work on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "flops/manual/manual.hpp"

namespace flops::manual {

enum class ValueKind { none, text, file, folder, choice };

struct Argument {
  std::vector<std::string> names;  // "-c", "--config"; empty: it is known by its place
  ValueKind kind = ValueKind::none;
  std::string value;                 // what the value is called, also of an argument that is known by its place
  std::vector<std::string> choices;  // of kind choice
  std::string text;
  std::string limits;        // what the value must be, as CLI11 says it; may be empty
  std::string default_text;  // empty: none
  bool required = false;
};

struct Command {
  std::string name;
  std::vector<std::string> path;  // names of the commands above and its own, without the program's
  std::string text;
  std::vector<Argument> options;  // its own
  std::vector<Argument> above;    // those of commands above that it takes too
  std::vector<Argument> places;
  std::vector<Command> commands;
};

[[nodiscard]] Command command_tree(const CLI::App& app);

// All of them, each before those below it.
[[nodiscard]] std::vector<const Command*> flattened(const Command& root);

[[nodiscard]] std::string joined(const std::vector<std::string>& words, std::string_view separator);
// Both, its own first.
[[nodiscard]] std::vector<Argument> all_options(const Command& command);
// Names of options that are followed by a value, of the whole tree, sorted.
[[nodiscard]] std::vector<std::string> names_with_value(const Command& root);

// Of a program in a shell function's name.
[[nodiscard]] std::string function_name(const Command& root);

// `text` with `escape` before every one of `special`.
[[nodiscard]] std::string escaped(std::string_view text, std::string_view special, std::string_view escape = "\\");
// `text` as one word of bash and zsh.
[[nodiscard]] std::string quoted(std::string_view text);

[[nodiscard]] std::string bash_completion(const Command& root);
[[nodiscard]] std::string zsh_completion(const Command& root);
[[nodiscard]] std::string fish_completion(const Command& root);

}  // namespace flops::manual
