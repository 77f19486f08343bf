// The condition `storage` in words, and how much room work needs. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::health {

// Logs, tables, what else grows.
inline constexpr std::uint64_t room_margin = std::uint64_t{8} << 20U;

// For a task of a model of so many bytes: the model, the checkpoint or the update, and a copy that is being replaced.
[[nodiscard]] std::uint64_t room_for_model(std::uint64_t model_bytes);

// Empty: `free` is enough. `whom` completes "no room for ...".
[[nodiscard]] std::string lack_of_room(std::uint64_t needed, std::uint64_t free, std::string_view whom,
                                       std::string_view folder);

// What a failed write to `folder` means and what helps, with the error's own words first.
[[nodiscard]] std::string storage_trouble(const Error& error, std::string_view folder);

}  // namespace flops::health
