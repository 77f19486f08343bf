// The files of a project: those of a folder, or of one commit of a Git repository. Whoever wrote them is not trusted:
// no program of theirs runs, no link of theirs is followed, and nothing is larger than the limits say.
//
// Git is the git program (git 2.39 or newer), as people's credentials and proxies are configured for it. A repository
// is fetched without history and never checked out: hooks, filters, attributes and submodules have no say. Blocking.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/error.hpp"

namespace flops::source {

class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  virtual ~Files() = default;

  // A regular file, whole; `path` as path_problem() wants it. permanent: no such file, or none that may be read;
  // resource: it is larger than `limit` bytes.
  [[nodiscard]] virtual Result<std::string> read(const std::string& path, std::uint64_t limit) const = 0;
  // The commit, as 40 or 64 hexadecimal digits; empty: a folder.
  [[nodiscard]] virtual const std::string& commit() const = 0;
};

// permanent: no folder. What lies in it is read when it is asked for.
[[nodiscard]] Result<std::unique_ptr<Files>> open_folder(const std::filesystem::path& folder);

struct GitLimits {
  // How a repository may be reached, also after a redirection. "file" reads repositories of this machine.
  std::vector<std::string> protocols = {"https", "ssh", "file"};
  std::chrono::milliseconds patience = std::chrono::minutes(2);  // for the whole fetch
  std::uint64_t fetched_bytes = std::uint64_t{256} << 20U;       // as they come, compressed
  std::uint64_t memory_bytes = std::uint64_t{1} << 30U;          // of git
  std::size_t files = 20'000;                                    // in the commit
};

// Fetches `ref` (a branch, a tag or a whole commit id; empty: the repository's own choice) of `url` into the folder
// `work`, which must be new or empty and is the caller's to remove after the Files. permanent: not an address, a
// protocol that is not allowed, no such repository or ref, what git said; transient: it took longer than `patience`;
// resource: too large.
[[nodiscard]] Result<std::unique_ptr<Files>> fetch_git(const std::string& url, const std::string& ref,
                                                       const std::filesystem::path& work, const GitLimits& limits);

// What is wrong with a path in a project, or nothing: names between single slashes, none of them "." or "..".
[[nodiscard]] std::string path_problem(std::string_view path);
// "https://...", "ssh://...", "file://..." and every other scheme, and "user@host:path"; everything else is a folder.
[[nodiscard]] bool is_git_url(std::string_view text);
// The address without password and user name (which may be a token), for records and messages.
[[nodiscard]] std::string without_secrets(std::string_view url);

}  // namespace flops::source
