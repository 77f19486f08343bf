// The JSON header of a safetensors file, without the file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"
#include "flops/tensor/layout.hpp"

namespace flops::tensor {

struct SafetensorsHeader {
  Layout layout;
  std::map<std::string, std::string> metadata;
};

// `text` is the JSON alone, at most max_safetensors_header bytes. corrupt: see safetensors.hpp.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors_header(std::string_view text);

}  // namespace flops::tensor
