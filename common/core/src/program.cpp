#include "flops/core/program.hpp"

namespace flops {

std::optional<std::filesystem::path> own_folder() {
  std::error_code error;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::nullopt : std::optional(own.parent_path());
}

std::optional<std::filesystem::path> companion_program(const std::filesystem::path& folder,
                                                       const std::filesystem::path& name) {
  for (const auto& place : {folder, folder.parent_path() / "libexec" / "flops-edge"}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(place / name, error)) {
      return place / name;
    }
  }
  return std::nullopt;
}

}  // namespace flops
