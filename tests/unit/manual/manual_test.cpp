#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "flops/manual/manual.hpp"

using namespace flops;
using manual::Shell;

namespace {

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// A command line with one of everything.
struct Sample {
  Sample() {
    app.fallthrough();
    app.set_version_flag("--version", "1");
    app.add_option("-c,--config", config, "Configuration [of all]: file")->type_name("FILE")->capture_default_str();
    app.add_option("-o,--format", format, "Output")->option_text("table|json (table)");
    app.add_flag("--secret", hidden, "Never shown")->group("");
    CLI::App* group = app.add_subcommand("run", "Training runs");
    group->fallthrough();
    CLI::App* start = group->add_subcommand("start", "Start the owner's run");
    start->fallthrough();
    start->add_option("--rounds", rounds, "Rounds")->check(CLI::Range(1, 10))->required();
    start->add_option("--optimizer", text, "Optimiser")->check(CLI::IsMember({"sgd", "adam"}));
    start->add_option("--out", text, "Where to")->option_text("DIR");
    start->add_option("ID", text, "Run id")->required();
    app.add_subcommand("old", "Never shown")->group("");
    app.footer("Example: train.\n  tool run start\n\nExit codes: 0 done; 1 failed.\n\nMore is known.");
  }

  CLI::App app{"Does things.\n\nAnd more things.", "the-tool"};
  std::string config = "/etc/tool.toml";
  std::string format;
  std::string text;
  int rounds = 0;
  bool hidden = false;
};

std::string page_of(const Sample& sample) {
  return manual::man_page(sample.app, {"does things", {{"/etc/tool.toml", "its file."}}, {"other-tool"}});
}

}  // namespace

TEST_CASE("manual: a page has the sections that man pages have, in their order") {
  const std::string page = page_of(Sample());
  std::size_t last = 0;
  for (const char* heading :
       {".TH THE\\-TOOL 1 ", ".SH NAME\nthe\\-tool \\- does things\n", ".SH SYNOPSIS\n",
        ".SH DESCRIPTION\n.PP\nDoes things.\n.PP\nAnd more things.\n", ".SH OPTIONS\n", ".SH COMMANDS\n",
        ".SH NOTES\n.PP\nMore is known.\n", ".SH FILES\n.TP\n\\fI/etc/tool.toml",
        ".SH EXIT STATUS\n.PP\n0 done; 1 failed.\n", ".SH EXAMPLES\n.PP\n.nf\ntrain.\n  tool run start\n.fi\n",
        ".SH SEE ALSO\n\\fBother\\-tool\\fP(1)\n"}) {
    CAPTURE(heading);
    const std::size_t found = page.find(heading);
    REQUIRE_MESSAGE(found != std::string::npos, page);
    CHECK(found >= last);
    last = found;
  }
}

TEST_CASE("manual: an option with a value is shown with its type, limits and default") {
  const std::string page = page_of(Sample());
  for (const char* part :
       {".TP\n\\fB\\-c\\fP, \\fB\\-\\-config\\fP \\fIFILE\\fP\nConfiguration [of all]: file. Default: "
        "/etc/tool.toml.\n",
        "\\fB\\-o\\fP, \\fB\\-\\-format\\fP \\fItable|json\\fP\nOutput. Default: table.\n",
        "\\fB\\-\\-rounds\\fP \\fIINT\\fP\nRounds (INT in [1 \\- 10]) (required).\n",
        "\\fB\\-\\-optimizer\\fP \\fIsgd|adam\\fP\n", ".TP\n\\fIID\\fP\nRun id (required).\n",
        ".SS the\\-tool run start ID\nStart the owner\\(aqs run.\n"}) {
    CHECK_MESSAGE(says(page, part), page);
  }
}

TEST_CASE("manual: text never becomes a request of roff") {
  CLI::App app(".so /etc/passwd\n'br\nback\\slash", "tool");
  const std::string page = manual::man_page(app, {".so x", {}, {}});
  CHECK(says(page, "\n\\&.so /etc/passwd\n\\&\\(aqbr\nback\\eslash\n"));
  CHECK(says(page, "tool \\- \\&.so x\n"));
}

TEST_CASE("manual: what the command line hides is hidden everywhere") {
  const Sample sample;
  for (const std::string& text :
       {page_of(sample), manual::completion(sample.app, Shell::bash), manual::completion(sample.app, Shell::zsh),
        manual::completion(sample.app, Shell::fish)}) {
    CHECK_FALSE(says(text, "secret"));
    CHECK_FALSE(says(text, "Never shown"));
    CHECK(says(text, "optimizer"));
  }
}

TEST_CASE("manual: bash completes commands, options from above and values") {
  const std::string script = manual::completion(Sample().app, Shell::bash);
  for (const char* part :
       {"      'run' | 'run start') command=$longer ;;\n",
        "      --config | --format | --optimizer | --out | --rounds | -c | -o) ((i++))",
        "        -c | --config) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n",
        "        --optimizer) mapfile -t COMPREPLY < <(compgen -W 'sgd adam' -- \"$cur\"); return ;;\n",
        "        --out) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n",
        "        --rounds) COMPREPLY=(); return ;;\n", "compgen -W 'start -h --help --version -c --config -o --format'",
        "complete -F _the_tool the-tool\n"}) {
    CHECK_MESSAGE(says(script, part), script);
  }
}

TEST_CASE("manual: zsh and fish get the same, with their own quoting") {
  const std::string zsh = manual::completion(Sample().app, Shell::zsh);
  for (const char* part :
       {"#compdef the-tool\n", "'(-c --config)'{-c,--config}'[Configuration \\[of all\\]\\: file]:FILE:_files'",
        "'--optimizer[Optimiser]:sgd|adam:(sgd adam)'", "'--out[Where to]:DIR:_files -/'",
        "'start:Start the owner'\\''s run'", "start) _the_tool__run__start ;;"}) {
    CHECK_MESSAGE(says(zsh, part), zsh);
  }
  const std::string fish = manual::completion(Sample().app, Shell::fish);
  for (const char* part :
       {"complete -c the-tool -n '__the_tool \\'\\'' -a run -d 'Training runs'\n",
        "complete -c the-tool -n '__the_tool \\'run start\\'' -l optimizer -x -a 'sgd adam' -d 'Optimiser'\n",
        "complete -c the-tool -n '__the_tool \\'run\\'' -s c -l config -r -F -d 'Configuration [of all]: file'\n",
        "-d 'Start the owner\\'s run'"}) {
    CHECK_MESSAGE(says(fish, part), fish);
  }
}

TEST_CASE("manual: a program answers for its page and its completions") {
  struct Row {
    const char* name;
    std::vector<std::string> arguments;  // last first, as CLI11 takes them
    const char* begin;
  };
  for (const Row& row :
       {Row{"page", {"man-page"}, ".\\\" Made by"}, Row{"bash", {"bash", "completion"}, "# shellcheck shell=bash"},
        Row{"zsh", {"zsh", "completion"}, "#compdef"}, Row{"fish", {"fish", "completion"}, "# Made by"}}) {
    CAPTURE(row.name);
    Sample sample;
    const manual::Commands commands(sample.app, {"does things", {}, {}});
    auto arguments = row.arguments;
    sample.app.parse(arguments);
    REQUIRE(commands.answer().has_value());
    CHECK(commands.answer()->starts_with(row.begin));
    CHECK_FALSE(says(*commands.answer(), "man\\-page\\fP"));
  }
  Sample sample;
  const manual::Commands commands(sample.app, {"does things", {}, {}});
  sample.app.parse(std::vector<std::string>{"run"});
  CHECK_FALSE(commands.answer().has_value());
  Sample wrong;
  const manual::Commands wrong_commands(wrong.app, {"does things", {}, {}});
  CHECK_THROWS_AS(wrong.app.parse(std::vector<std::string>{"csh", "completion"}), CLI::ValidationError);
}
