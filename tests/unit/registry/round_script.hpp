// What the coordinator records of a run of one round, call by call, and what is then in the file.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "flops/registry/registry.hpp"

namespace flops::registry::testing {

struct Call {
  std::string name;
  bool durable;  // once it has returned, so is everything before it
  std::function<Result<>(Registry&)> perform;
};
[[nodiscard]] std::vector<Call> round_script();

// Every row of every table, as text. The file may be open elsewhere in this process.
[[nodiscard]] std::string content_of(const std::filesystem::path& file);
// What SQLite finds wrong with it: integrity and foreign keys; empty: nothing.
[[nodiscard]] std::string damage_of(const std::filesystem::path& file);

}  // namespace flops::registry::testing
