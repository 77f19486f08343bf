// The version every program and message reports.
#pragma once

#include <string_view>

namespace flops {

inline constexpr std::string_view version = "0.1.0";
inline constexpr int protocol_version = 1;

}  // namespace flops
