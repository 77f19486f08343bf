#include <CLI/CLI.hpp>

#include "command_tree.hpp"

namespace flops::manual {

std::string completion(const CLI::App& app, Shell shell) {
  const Command root = command_tree(app);
  switch (shell) {
    case Shell::bash: return bash_completion(root);
    case Shell::zsh: return zsh_completion(root);
    case Shell::fish: return fish_completion(root);
  }
  return {};
}

Commands::Commands(CLI::App& app, Page page) : app_(app), page_(std::move(page)) {
  CLI::App* const scripts = app.add_subcommand("completion", "Print the completion script for a shell");
  scripts->add_option("SHELL", shell_, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion_ = scripts;
  man_page_ = app.add_subcommand("man-page", "Print the man page")->group("");
}

std::optional<std::string> Commands::answer() const {
  if (man_page_->parsed()) {
    return man_page(app_, page_);
  }
  if (completion_->parsed()) {
    return completion(app_, shell_ == "bash" ? Shell::bash : shell_ == "zsh" ? Shell::zsh : Shell::fish);
  }
  return std::nullopt;
}

}  // namespace flops::manual
