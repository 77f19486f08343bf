// Where the programs of one installation find each other: they lie in one folder where they were built; installed, the
// ones that people call are in PREFIX/bin and the ones that only programs call in PREFIX/libexec/flops-edge.
#pragma once

#include <filesystem>
#include <optional>

namespace flops {

// The folder of the running program; nothing when /proc does not say.
[[nodiscard]] std::optional<std::filesystem::path> own_folder();

// The program `name` beside those in `folder`, or in ../libexec/flops-edge from there; nothing when it is in neither.
[[nodiscard]] std::optional<std::filesystem::path> companion_program(const std::filesystem::path& folder,
                                                                     const std::filesystem::path& name);

}  // namespace flops
