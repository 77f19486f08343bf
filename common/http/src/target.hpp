// The target of a request ("/v1/runs/run%201?limit=3") taken apart and decoded.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::http {

struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};

// permanent: not origin-form, bad escape, control character or ".." segment in the path, NUL, a key given twice. The
// message does not repeat the target.
[[nodiscard]] Result<Target> parse_target(std::string_view text);

}  // namespace flops::http
