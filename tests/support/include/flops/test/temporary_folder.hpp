// A folder for one test, with a unique name, removed with everything in it at the end of the scope.
#pragma once

#include <filesystem>

namespace flops::test {

class TemporaryFolder {
 public:
  TemporaryFolder();  // ends the process when it cannot be made
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace flops::test
