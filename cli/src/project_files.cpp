#include "project_files.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <unistd.h>

namespace flops::cli {

Outcome<ScratchFolder> ScratchFolder::make() {
  std::error_code error;
  const std::filesystem::path above = std::filesystem::temp_directory_path(error);
  std::string name = ((error ? std::filesystem::path("/tmp") : above) / "flopsctl-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return give_up(exit_failed, "making a folder like {}: {}", name, std::strerror(errno));
  }
  return ScratchFolder(std::move(name));
}

ScratchFolder::~ScratchFolder() {
  if (!path_.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
}

Outcome<ProjectFiles> open_project(const std::string& place, const std::string& ref) {
  auto scratch = ScratchFolder::make();
  if (!scratch) {
    return give_up(scratch.error());
  }
  const bool address = source::is_git_url(place);
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(place, error);
  if (!address && !std::filesystem::is_directory(folder, error)) {
    return give_up(exit_not_found, "{}: there is no such folder", place);
  }
  const std::string url = address ? place : "file://" + folder.lexically_normal().string();
  auto files =
      address || !ref.empty() ? source::fetch_git(url, ref, scratch->path() / "git", {}) : source::open_folder(folder);
  if (!files) {
    return give_up(exit_failed, "{}", files.error().what);
  }
  return ProjectFiles{*std::move(scratch), *std::move(files),
                      source::without_secrets(address ? place : folder.string())};
}

}  // namespace flops::cli
