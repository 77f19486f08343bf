// flops.toml, the manifest of a project: its name, and the run that it asks for (docs/manifest.md has every key).
//
// Pure: text in, values out. No file is read and nothing is looked up; what only the coordinator knows (devices, other
// projects) is not checked here.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/rounds/run_spec.hpp"

namespace flops::manifest {

inline constexpr std::string_view file_name = "flops.toml";
inline constexpr std::size_t max_bytes = std::size_t{64} * 1024U;
inline constexpr std::size_t max_name = 64;  // the grammar of ids (flops/core/id.hpp)
inline constexpr std::size_t max_description = 1024;
inline constexpr std::size_t max_tags = 16;
inline constexpr std::size_t max_tag = 64;

struct Manifest {
  std::string name;
  std::string description;
  std::vector<std::string> tags;
  rounds::RunSpec run;

  bool operator==(const Manifest&) const = default;
};

// `file` stands for the file in messages; `overrides` are settings afterwards ("training.rounds = 20"). permanent:
// everything that is wrong, one "file:line: message" a line.
[[nodiscard]] Result<Manifest> parse(std::string_view toml, const std::string& file,
                                     const std::vector<std::string>& overrides = {});

// Of what is trained: equal for manifests that ask for the same run under the same name, however they are written.
[[nodiscard]] Digest digest(const Manifest& manifest);

// Every key with its default, as a commented TOML file.
[[nodiscard]] std::string reference();
// A manifest to begin with.
[[nodiscard]] std::string skeleton(std::string_view name, std::string_view model, std::string_view data);

// Models that every trainer has, sorted by name.
[[nodiscard]] std::span<const std::string_view> builtin_models();

}  // namespace flops::manifest
