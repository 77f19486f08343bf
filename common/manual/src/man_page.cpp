// roff with the macros of man(7).
#include <algorithm>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "command_tree.hpp"
#include "flops/core/version.hpp"

namespace flops::manual {
namespace {

// Text that roff takes as it is; a dash is one that can be copied, and no line begins like a request.
std::string roff(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) {
      out += "\\&";
    }
    line_begins = c == '\n';
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '"': out += "\\(dq"; break;
      case '`': out += "\\(ga"; break;
      case '^': out += "\\(ha"; break;
      case '~': out += "\\(ti"; break;
      default: out += c;
    }
  }
  return out;
}

std::string bold(const std::string& text) {
  return fmt::format("\\fB{}\\fP", roff(text));
}

std::string italic(std::string_view text) {
  return fmt::format("\\fI{}\\fP", roff(text));
}

std::vector<std::string> paragraphs(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\n\n"), text.size());
    std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 2));
    while (part.starts_with('\n')) {
      part.remove_prefix(1);
    }
    while (part.ends_with('\n')) {
      part.remove_suffix(1);
    }
    if (!part.empty()) {
      found.emplace_back(part);
    }
  }
  return found;
}

// Lines are kept where one of them is indented: a listing.
std::string paragraph(const std::string& text) {
  if (text.find("\n ") == std::string::npos) {
    return fmt::format(".PP\n{}\n", roff(text));
  }
  return fmt::format(".PP\n.nf\n{}\n.fi\n", roff(text));
}

std::string sentence(const Argument& argument) {
  std::string text = argument.text;
  if (!argument.limits.empty()) {
    text += fmt::format(" ({})", argument.limits);
  }
  if (argument.required) {
    text += " (required)";
  }
  if (!argument.default_text.empty()) {
    text += fmt::format(". Default: {}", argument.default_text);
  }
  return text.ends_with('.') ? text : text + ".";
}

std::string term(const Argument& argument) {
  std::vector<std::string> names(argument.names.size());
  std::ranges::transform(argument.names, names.begin(), bold);
  std::string text = joined(names, ", ");
  if (argument.kind != ValueKind::none) {
    text += (text.empty() ? "" : " ") + italic(argument.value);
  }
  return text;
}

std::string arguments(const std::vector<Argument>& all) {
  std::string out;
  for (const Argument& argument : all) {
    out += fmt::format(".TP\n{}\n{}\n", term(argument), roff(sentence(argument)));
  }
  return out;
}

std::string synopsis(const Command& root) {
  std::string out = fmt::format(".SH SYNOPSIS\n{} [{}]", bold(root.name), italic("options"));
  for (const Argument& place : root.places) {
    out += " " + italic(place.value);
  }
  if (!root.commands.empty()) {
    out += fmt::format(" [{} [{}]]", italic("command"), italic("options"));
  }
  return out + "\n";
}

std::string command_section(const Command& root, const Command& command) {
  std::string out = fmt::format(".SS {} {}", roff(root.name), roff(joined(command.path, " ")));
  for (const Argument& place : command.places) {
    out += " " + roff(place.value);
  }
  out += fmt::format("\n{}.\n", roff(command.text));
  std::vector<Argument> shown = command.places;
  for (const Argument& option : command.options) {
    if (option.names.back() != "--help") {
      shown.push_back(option);
    }
  }
  return out + arguments(shown);
}

std::string commands(const Command& root) {
  std::string out;
  for (const Command* command : flattened(root)) {
    if (command != &root && command->commands.empty()) {
      out += command_section(root, *command);
    }
  }
  return out.empty() ? out : ".SH COMMANDS\n" + out;
}

// "Exit codes: 0 done." as the section of that name; a listing keeps its first line as its introduction.
struct FooterSections {
  std::string exit_status;
  std::string examples;
  std::string notes;
};

FooterSections footer_sections(const std::string& footer) {
  FooterSections sections;
  for (const std::string& text : paragraphs(footer)) {
    if (text.starts_with("Exit status: ") || text.starts_with("Exit codes: ")) {
      sections.exit_status += paragraph(text.substr(text.find(':') + 2));
    } else if (text.starts_with("Example")) {
      const std::size_t colon = text.find(':');
      const std::size_t begin = text.find_first_not_of(" \n", colon + 1);
      sections.examples += paragraph(text[colon + 1] == '\n' ? text.substr(colon + 2) : text.substr(begin));
    } else {
      sections.notes += paragraph(text);
    }
  }
  return sections;
}

std::string section(std::string_view heading, const std::string& content) {
  return content.empty() ? "" : fmt::format(".SH {}\n{}", heading, content);
}

std::string files(const Page& page) {
  std::string out;
  for (const Page::File& file : page.files) {
    out += fmt::format(".TP\n{}\n{}\n", italic(file.name), roff(file.text));
  }
  return out;
}

std::string see_also(const Page& page) {
  std::vector<std::string> names(page.see_also.size());
  std::ranges::transform(page.see_also, names.begin(), [](const std::string& name) { return bold(name) + "(1)"; });
  return names.empty() ? "" : joined(names, ", ") + "\n";
}

}  // namespace

std::string man_page(const CLI::App& app, const Page& page) {
  const Command root = command_tree(app);
  std::string title = root.name;
  std::ranges::transform(title, title.begin(), [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
  std::string out = fmt::format(".\\\" Made by '{} man-page' from its command line.\n", root.name);
  out += fmt::format(".TH {} 1 \"\" \"FLOps Edge {}\" \"FLOps Edge\"\n", roff(title), version);
  out += fmt::format(".SH NAME\n{} \\- {}\n", roff(root.name), roff(page.summary));
  out += synopsis(root);
  std::string description;
  for (const std::string& text : paragraphs(root.text)) {
    description += paragraph(text);
  }
  out += section("DESCRIPTION", description);
  out += section("OPTIONS", arguments(root.places) + arguments(root.options));
  out += commands(root);
  const FooterSections footer = footer_sections(app.get_footer());
  out += section("NOTES", footer.notes);
  out += section("FILES", files(page));
  out += section("EXIT STATUS", footer.exit_status);
  out += section("EXAMPLES", footer.examples);
  out += section("SEE ALSO", see_also(page));
  return out;
}

}  // namespace flops::manual
