// A commit of a Git repository, by the git program: fetched into a bare repository, and read from there object by
// object.
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <iterator>
#include <map>

#include <fmt/ranges.h>

#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/source/source.hpp"

namespace flops::source {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_url = 2048;
constexpr std::size_t longest_ref = 256;
constexpr std::size_t longest_message = 1024;
constexpr std::size_t longest_line = 4096;  // of the list of files
constexpr std::uint64_t small_output = 4096;
constexpr std::string_view regular_modes[] = {"100644", "100755", "100664"};

bool is_letter_or_digit(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

std::string scheme_of(std::string_view url) {
  const std::size_t mark = url.find("://");
  return mark == std::string_view::npos ? "ssh" : std::string(url.substr(0, mark));
}

std::string url_problem(const std::string& url, const std::vector<std::string>& protocols) {
  const bool printable = std::ranges::all_of(url, [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  if (!is_git_url(url) || url.size() > longest_url || !printable || url.starts_with('-')) {
    return "this is no address of a Git repository, such as https://host/path or ssh://user@host/path";
  }
  if (std::ranges::find(protocols, scheme_of(url)) == protocols.end()) {
    return fmt::format("the protocol '{}' is not allowed; allowed: {}", scheme_of(url), fmt::join(protocols, ", "));
  }
  return {};
}

// Nothing that git could take for an option, a pattern or a second name.
std::string ref_problem(std::string_view ref) {
  const bool begins = is_letter_or_digit(ref.front()) || ref.front() == '_' || ref.front() == '.';
  const bool plain = std::ranges::all_of(
      ref, [](char c) { return is_letter_or_digit(c) || std::string_view("._/-+@#=%,").contains(c); });
  return begins && plain && ref.size() <= longest_ref && !ref.contains("..") && !ref.contains("@{")
             ? std::string()
             : "expected a branch, a tag or a whole commit id";
}

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

struct Entry {
  std::string mode;
  std::string object;
  std::uint64_t size = 0;
};

// "mode type object size\tpath", as git ls-tree -l has it.
bool parse_entry(std::string_view line, std::string& path, Entry& entry) {
  const std::size_t tab = line.find('\t');
  if (tab == std::string_view::npos || tab + 1 == line.size()) {
    return false;
  }
  path = line.substr(tab + 1);
  std::array<std::string_view, 4> words;
  std::string_view rest = line.substr(0, tab);
  for (std::string_view& word : words) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(word.size());
  }
  entry.mode = words[0];
  entry.object = words[2];
  const auto [end, error] = std::from_chars(words[3].data(), words[3].data() + words[3].size(), entry.size);
  const bool has_size = error == std::errc() && end == words[3].data() + words[3].size();
  return rest.empty() && (has_size || words[3] == "-") && !entry.object.empty();
}

// One bare repository, and how git is called on it.
class Repository {
 public:
  Repository(std::filesystem::path work, GitLimits limits, std::string url)
      : work_(std::move(work)),
        limits_(std::move(limits)),
        url_(std::move(url)),
        deadline_(Clock::now() + limits_.patience) {}

  // What it printed, at most `limit` bytes, which is also what any file it writes may have.
  Result<std::string> run(std::vector<std::string> arguments, std::uint64_t limit) const {
    return run_until(std::move(arguments), limit, deadline_);
  }
  Result<std::string> run_now(std::vector<std::string> arguments, std::uint64_t limit) const {
    return run_until(std::move(arguments), limit, Clock::now() + limits_.patience);
  }
  [[nodiscard]] std::string git_folder() const { return (work_ / "repository").string(); }
  [[nodiscard]] const GitLimits& limits() const { return limits_; }

 private:
  Result<std::string> run_until(std::vector<std::string> arguments, std::uint64_t limit,
                                Clock::time_point until) const {
    const std::filesystem::path output = work_ / "output";
    const std::filesystem::path log = work_ / "log";
    std::error_code ignored;
    std::filesystem::remove(log, ignored);
    process::Command command;
    command.program = "git";
    command.arguments = {"--git-dir=" + git_folder()};
    for (const char* setting : {"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.bigFileThreshold=1m",
                                "fetch.unpackLimit=1", "fetch.recurseSubmodules=false", "fetch.writeCommitGraph=false",
                                "gc.auto=0", "maintenance.auto=false", "pack.threads=1", "init.defaultBranch=main"}) {
      command.arguments.insert(command.arguments.end(), {"-c", setting});
    }
    command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
    command.environment = {{"GIT_ALLOW_PROTOCOL", fmt::format("{}", fmt::join(limits_.protocols, ":"))},
                           {"GIT_TERMINAL_PROMPT", "0"},
                           {"GIT_LFS_SKIP_SMUDGE", "1"},
                           {"LC_ALL", "C"}};
    if (std::getenv("GIT_SSH_COMMAND") == nullptr) {
      command.environment.emplace_back("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
    }
    command.output_file = output;
    command.log_file = log;
    command.data_limit_bytes = limits_.memory_bytes;
    command.file_limit_bytes = limit;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    auto ended = process::run_to_end(command, std::max(left, std::chrono::milliseconds(1)));
    if (!ended) {
      return fail(ended.error(), "git (Debian package git)");
    }
    if (ended->signalled || ended->code != 0) {
      return why_it_failed(*ended, log, limit, Clock::now() >= until);
    }
    return read_file(output, static_cast<std::size_t>(limit));
  }

  [[nodiscard]] std::unexpected<Error> why_it_failed(const process::Exit& exit, const std::filesystem::path& log,
                                                     std::uint64_t limit, bool too_late) const {
    std::string said = trimmed(read_file(log, small_output).value_or(""));
    for (std::size_t at = said.find(url_); at != std::string::npos; at = said.find(url_)) {
      const std::string clean = without_secrets(url_);
      if (clean == url_) {
        break;
      }
      said.replace(at, url_.size(), clean);
    }
    if (said.size() > longest_message) {
      said.resize(longest_message);
    }
    if (too_late) {
      return fail(ErrorKind::transient, "it took longer than {} s", limits_.patience.count() / 1000);
    }
    const bool too_large = (exit.signalled && exit.code == SIGXFSZ) || is_full(limit);
    if (too_large) {
      return fail(ErrorKind::resource, "more than {} bytes would have to be fetched or read", limit);
    }
    if (said.contains("out of memory") || said.contains("Out of memory")) {
      return fail(ErrorKind::resource, "git needs more than {} MiB of memory for it", limits_.memory_bytes >> 20U);
    }
    return fail(ErrorKind::permanent, "git {}{}{}", exit.describe(), said.empty() ? "" : ": ", said);
  }

  // A child of git's was not allowed to write on: git says only that it ended.
  [[nodiscard]] bool is_full(std::uint64_t limit) const {
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator file(work_, error), end; !error && file != end;
         file.increment(error)) {
      std::error_code ignored;
      const std::string name = file->path().filename().string();
      const bool unfinished = name == "output" || name.starts_with("tmp_");
      if (unfinished && file->is_regular_file(ignored) && file->file_size(ignored) >= limit) {
        return true;
      }
    }
    return false;
  }

  std::filesystem::path work_;
  GitLimits limits_;
  std::string url_;
  Clock::time_point deadline_;
};

class Commit final : public Files {
 public:
  Commit(Repository repository, std::string id, std::map<std::string, Entry> entries)
      : repository_(std::move(repository)), id_(std::move(id)), entries_(std::move(entries)) {}

  [[nodiscard]] Result<std::string> read(const std::string& path, std::uint64_t limit) const override {
    if (const std::string problem = path_problem(path); !problem.empty()) {
      return fail(ErrorKind::permanent, "'{}': {}", path, problem);
    }
    const auto found = entries_.find(path);
    if (found == entries_.end()) {
      return fail(ErrorKind::permanent, "{}: there is no such file in commit {}", path, id_.substr(0, 12));
    }
    const Entry& entry = found->second;
    if (std::ranges::find(regular_modes, entry.mode) == std::end(regular_modes)) {
      return fail(
          ErrorKind::permanent, "{}: {}", path,
          entry.mode == "160000" ? "it is in a submodule, and submodules are not fetched" : "links are not followed");
    }
    if (entry.size > limit) {
      return fail(ErrorKind::resource, "{}: {} bytes; at most {} are read", path, entry.size, limit);
    }
    auto content = repository_.run_now({"cat-file", "blob", entry.object}, std::max(entry.size, small_output));
    if (!content) {
      return fail(content.error(), path);
    }
    if (content->size() != entry.size) {
      return fail(ErrorKind::corrupt, "{}: {} bytes instead of {}", path, content->size(), entry.size);
    }
    return content;
  }

  [[nodiscard]] const std::string& commit() const override { return id_; }

 private:
  Repository repository_;
  std::string id_;
  std::map<std::string, Entry> entries_;
};

Result<std::map<std::string, Entry>> entries_of(const Repository& repository, const std::string& commit) {
  const std::size_t most = repository.limits().files;
  auto list = repository.run({"ls-tree", "-r", "-l", "-z", "--full-tree", commit}, most * longest_line / 8);
  if (!list) {
    return fail(list.error(), "the list of its files");
  }
  std::map<std::string, Entry> entries;
  for (std::string_view rest = *list; !rest.empty();) {
    const std::size_t end = rest.find('\0');
    std::string path;
    Entry entry;
    if (end == std::string_view::npos || !parse_entry(rest.substr(0, end), path, entry)) {
      return fail(ErrorKind::corrupt, "the list of its files is not readable");
    }
    if (entries.size() == most) {
      return fail(ErrorKind::resource, "it has more than {} files", most);
    }
    entries.emplace(std::move(path), std::move(entry));
    rest.remove_prefix(end + 1);
  }
  return entries;
}

Result<std::unique_ptr<Files>> fetched(Repository repository, const std::string& url, const std::string& ref) {
  if (auto made = repository.run({"init", "--quiet", "--bare", "--template=", repository.git_folder()}, small_output);
      !made) {
    return fail(made.error(), "preparing");
  }
  auto got = repository.run(
      {"fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, ref.empty() ? "HEAD" : ref},
      repository.limits().fetched_bytes);
  if (!got) {
    return fail(got.error(), "fetching");
  }
  auto id = repository.run({"rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"}, small_output);
  if (!id) {
    return fail(ErrorKind::permanent, "'{}' is no commit", ref.empty() ? "HEAD" : ref);
  }
  const std::string commit = trimmed(*id);
  auto entries = entries_of(repository, commit);
  if (!entries) {
    return fail(entries.error());
  }
  return std::make_unique<Commit>(std::move(repository), commit, *std::move(entries));
}

}  // namespace

Result<std::unique_ptr<Files>> fetch_git(const std::string& url, const std::string& ref,
                                         const std::filesystem::path& work, const GitLimits& limits) {
  const std::string shown = without_secrets(url);
  if (const std::string problem = url_problem(url, limits.protocols); !problem.empty()) {
    return fail(ErrorKind::permanent, "'{}': {}", shown.substr(0, longest_message), problem);
  }
  if (const std::string problem = ref.empty() ? std::string() : ref_problem(ref); !problem.empty()) {
    return fail(ErrorKind::permanent, "'{}': {}", ref.substr(0, longest_ref), problem);
  }
  if (auto made = make_folder(work, 0700); !made) {
    return fail(made.error());
  }
  auto files = fetched(Repository(work, limits, url), url, ref);
  return files ? std::move(files) : fail(files.error(), ref.empty() ? shown : fmt::format("{} ({})", shown, ref));
}

}  // namespace flops::source
