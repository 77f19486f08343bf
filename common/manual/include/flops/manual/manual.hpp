// The man page and the shell completions of a program, made from the CLI11 command line that it parses, so that they
// cannot say anything else than the program does. Pure text; nothing is read or written. Not thread-safe.
//
// What CLI11 hides (group "") stays hidden here. A value called FILE or DIR is completed with file names, one of a few
// choices with these.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace flops::manual {

// What a man page says beside the command line.
struct Page {
  struct File {
    std::string name;
    std::string text;
  };
  std::string summary;                // for apropos: one line, without a full stop
  std::vector<File> files;            // that the program uses by default
  std::vector<std::string> see_also;  // other man pages, all in section 1
};

// roff of a page in section 1. Of the footer, paragraphs that begin with "Exit status" or "Exit codes" and "Example"
// get a section of their own, and keep their lines.
[[nodiscard]] std::string man_page(const CLI::App& app, const Page& page);

enum class Shell { bash, zsh, fish };

// A script for that shell's completion of `app`.
[[nodiscard]] std::string completion(const CLI::App& app, Shell shell);

// The commands `completion SHELL` and, hidden, `man-page` of a program.
class Commands {
 public:
  // Adds them; `app` and this object must outlive the parsing.
  Commands(CLI::App& app, Page page);
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  // After the parsing: the text that was asked for; nothing when it was another command.
  [[nodiscard]] std::optional<std::string> answer() const;

 private:
  const CLI::App& app_;
  Page page_;
  std::string shell_;
  const CLI::App* completion_ = nullptr;
  const CLI::App* man_page_ = nullptr;
};

}  // namespace flops::manual
