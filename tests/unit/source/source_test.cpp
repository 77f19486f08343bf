#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "flops/core/file.hpp"
#include "flops/process/child.hpp"
#include "flops/source/source.hpp"
#include "flops/test/temporary_folder.hpp"

using namespace flops;
using namespace flops::source;

namespace {

void shell(const std::filesystem::path& folder, const std::string& script) {
  process::Command command;
  command.program = "/bin/sh";
  command.arguments = {"-c", fmt::format("set -e; cd '{}'; {}", folder.string(), script)};
  command.environment = {{"GIT_AUTHOR_NAME", "T"},
                         {"GIT_AUTHOR_EMAIL", "t@example.org"},
                         {"GIT_COMMITTER_NAME", "T"},
                         {"GIT_COMMITTER_EMAIL", "t@example.org"},
                         {"GIT_CONFIG_GLOBAL", "/dev/null"}};
  const auto log = folder / ".." / "shell.log";
  command.log_file = log;
  const auto ended = process::run_to_end(command, std::chrono::minutes(1));
  REQUIRE(ended);
  REQUIRE_MESSAGE((!ended->signalled && ended->code == 0), read_file(log).value_or(""));
}

// A repository with two commits on main and a branch.
struct Repository {
  Repository() {
    std::filesystem::create_directory(path());
    shell(
        path(),
        "git init -q -b main; mkdir sub; echo one > flops.toml; printf 'a\\0b' > sub/data.bin; ln -s /etc/passwd link; "
        "git add .; git commit -qm first; git tag v1; git checkout -qb other; echo other > flops.toml; "
        "git commit -qam other; git checkout -q main; echo two > flops.toml; git commit -qam second");
  }
  [[nodiscard]] std::filesystem::path path() const { return folder / "repository"; }
  [[nodiscard]] std::string url() const { return "file://" + path().string(); }
  [[nodiscard]] Result<std::unique_ptr<Files>> fetch(const std::string& ref, const GitLimits& limits = {}) {
    return fetch_git(url(), ref, folder / ("work" + std::to_string(++count)), limits);
  }

  test::TemporaryFolder folder;
  int count = 0;
};

std::string what(const Result<std::unique_ptr<Files>>& files) {
  return files ? std::string() : files.error().what;
}

}  // namespace

TEST_CASE("source: paths, addresses, and addresses without their secrets") {
  for (const char* good : {"flops.toml", "a/b/c.pt", "with space", "..a", "a..b"}) {
    CHECK_MESSAGE(path_problem(good).empty(), good);
  }
  for (const std::string& bad :
       {std::string(), std::string("/etc/passwd"), std::string("../x"), std::string("a/../b"), std::string("a//b"),
        std::string("a/"), std::string("./a"), std::string("a\\b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string(".git/config"), std::string(513, 'a')}) {
    CHECK_MESSAGE(!path_problem(bad).empty(), bad);
  }
  for (const char* url :
       {"https://example.org/x.git", "ssh://git@example.org/x", "git@example.org:x/y", "file:///x", "ext://x"}) {
    CHECK_MESSAGE(is_git_url(url), url);
  }
  for (const char* folder : {".", "/a/b", "a@b/c:d", "project", "@x:y"}) {
    CHECK_MESSAGE(!is_git_url(folder), folder);
  }
  CHECK(without_secrets("https://me:token@example.org/x@y") == "https://example.org/x@y");
  CHECK(without_secrets("https://example.org/x") == "https://example.org/x");
  CHECK(without_secrets("git@example.org:x") == "git@example.org:x");
}

TEST_CASE("source: a folder gives its files, and nothing beside them") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "project/sub");
  std::ofstream(folder / "project/sub/a.txt") << "content";
  std::ofstream(folder / "secret") << "secret";
  std::filesystem::create_symlink(folder / "secret", folder / "project/link");
  std::filesystem::create_symlink(folder / "project/sub", folder / "project/linked");
  REQUIRE(::mkfifo((folder / "project/pipe").c_str(), 0600) == 0);
  const auto files = open_folder(folder / "project");
  REQUIRE_MESSAGE(files, what(files));
  CHECK((*files)->read("sub/a.txt", 7).value() == "content");
  CHECK((*files)->commit().empty());
  struct Row {
    const char* path;
    std::uint64_t limit;
    const char* message;
  };
  for (const Row& row : {Row{"sub/a.txt", 6, "7 bytes; at most 6"}, Row{"link", 100, "links are not followed"},
                         Row{"linked/a.txt", 100, "links are not followed"}, Row{"sub", 100, "not a regular file"},
                         Row{"pipe", 100, "not a regular file"}, Row{"none", 100, "no such file"},
                         Row{"sub/a.txt/b", 100, "only folders have files"}, Row{"../secret", 100, "a path within"}}) {
    CAPTURE(row.path);
    const auto read = (*files)->read(row.path, row.limit);
    REQUIRE_FALSE(read);
    CHECK_MESSAGE(read.error().what.contains(row.message), read.error().what);
  }
  CHECK(what(open_folder(folder / "none")).contains("there is no such folder"));
  CHECK(what(open_folder(folder / "secret")).contains("it is no folder"));
}

TEST_CASE("source: a commit of a repository: by default, by branch, tag and id") {
  Repository repository;
  const auto newest = repository.fetch("");
  REQUIRE_MESSAGE(newest, what(newest));
  CHECK((*newest)->read("flops.toml", 100).value() == "two\n");
  CHECK((*newest)->read("sub/data.bin", 3).value() == std::string("a\0b", 3));
  CHECK((*newest)->commit().size() == 40);
  for (const auto& [ref, content] :
       {std::pair{"other", "other\n"}, std::pair{"v1", "one\n"}, std::pair{"refs/heads/main", "two\n"}}) {
    const auto files = repository.fetch(ref);
    REQUIRE_MESSAGE(files, what(files));
    CHECK((*files)->read("flops.toml", 100).value() == content);
  }
  const auto by_id = repository.fetch((*newest)->commit());
  REQUIRE_MESSAGE(by_id, what(by_id));
  CHECK((*by_id)->commit() == (*newest)->commit());

  CHECK((*newest)->read("link", 100).error().what.contains("links are not followed"));
  CHECK((*newest)->read("none", 100).error().what.contains("no such file in commit"));
  CHECK((*newest)->read("sub/data.bin", 2).error().kind == ErrorKind::resource);
  CHECK((*newest)->read("../flops.toml", 100).error().what.contains("a path within"));
}

TEST_CASE("source: repositories and refs that are refused") {
  Repository repository;
  for (const char* ref : {"none", "-upload-pack=x", "a:b", "+main", "main..other", "*", "a b", "HEAD@{1}"}) {
    CAPTURE(ref);
    CHECK_FALSE(repository.fetch(ref));
  }
  CHECK(what(repository.fetch("-x")).contains("expected a branch, a tag or a whole commit id"));
  CHECK(what(repository.fetch("", {.protocols = {"https"}})).contains("'file' is not allowed; allowed: https"));
  const test::TemporaryFolder work;
  for (const char* url :
       {"ext::sh -c touch% /tmp/x", "ext://sh", "--upload-pack=x://y", "folder", "file:///nowhere/at/all"}) {
    CAPTURE(url);
    CHECK_FALSE(fetch_git(url, "", work / "w", {}));
  }
  // A pipe that never answers, and a token that must not be told.
  const auto secret = fetch_git("https://me:hunter2@127.0.0.1:1/x", "", work / "s", {});
  REQUIRE_FALSE(secret);
  CHECK_MESSAGE(!secret.error().what.contains("hunter2"), secret.error().what);
}

TEST_CASE("source: a repository is not larger than the limits, and does not run anything") {
  Repository repository;
  CHECK(what(repository.fetch("", {.files = 2})).contains("more than 2 files"));
  shell(repository.path(), "head -c 3000000 /dev/urandom > big; git add big; git commit -qm big");
  const auto large = repository.fetch("", {.fetched_bytes = 1'000'000});
  REQUIRE_FALSE(large);
  CHECK_MESSAGE(large.error().kind == ErrorKind::resource, large.error().what);
  CHECK(repository.fetch("", {.fetched_bytes = 4'000'000}));
  CHECK(what(repository.fetch("", {.patience = std::chrono::milliseconds(1)})).contains("took longer"));

  // A tree of trees of trees: few bytes, very many files.
  shell(repository.path(),
        "blob=$(echo x | git hash-object -w --stdin); list=\"100644 blob $blob\"; "
        "tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '100644 blob %s\\tf%s\\n' $blob $i; done | git mktree); "
        "for level in 1 2 3 4 5 6 7; do tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\td%s\\n' $tree "
        "$i; "
        "done | git mktree); done; git update-ref refs/heads/bomb $(echo bomb | git commit-tree $tree)");
  const auto bomb = repository.fetch("bomb");
  REQUIRE_FALSE(bomb);
  CHECK_MESSAGE(bomb.error().kind == ErrorKind::resource, bomb.error().what);

  // Hooks, filters and submodules of theirs.
  shell(repository.path(),
        "git checkout -q main; printf '* filter=evil\\n' > .gitattributes; git config filter.evil.smudge 'touch ran'; "
        "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch ran\\n' > .git/hooks/post-checkout; chmod +x "
        ".git/hooks/post-checkout; "
        "cp .git/hooks/post-checkout .git/hooks/reference-transaction; "
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),module; git add .gitattributes; "
        "git -c core.hooksPath=/dev/null commit -qm evil; rm -f ran");
  const auto evil = repository.fetch("");
  REQUIRE_MESSAGE(evil, what(evil));
  CHECK((*evil)->read("flops.toml", 100).value() == "two\n");
  CHECK((*evil)->read("module", 100).error().what.contains("submodules are not fetched"));
  CHECK_FALSE(std::filesystem::exists(repository.path() / "ran"));
  CHECK_FALSE(std::filesystem::exists(repository.folder / "ran"));
}
