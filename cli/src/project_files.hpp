// The files of a project that a person names: a folder, or an address of a Git repository.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "flops/source/source.hpp"
#include "outcome.hpp"

namespace flops::cli {

// A folder of this process's own, removed with everything in it at the end.
class ScratchFolder {
 public:
  [[nodiscard]] static Outcome<ScratchFolder> make();
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct ProjectFiles {
  ScratchFolder scratch;  // outlives the files
  std::unique_ptr<source::Files> files;
  std::string place;  // where they are from, for people: without secrets
};

// `ref`: of the repository; a folder with one is taken for a repository. exit_not_found: there is no such folder or
// repository; exit_failed: everything else.
[[nodiscard]] Outcome<ProjectFiles> open_project(const std::string& place, const std::string& ref);

}  // namespace flops::cli
