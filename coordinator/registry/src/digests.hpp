// Digests as columns: hexadecimal text, empty for none.
#pragma once

#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::registry {

[[nodiscard]] inline Result<Digest> digest_or_none(const std::string& hex) {
  if (hex.empty()) {
    return Digest();
  }
  return Digest::from_hex(hex);
}

[[nodiscard]] inline std::string hex_or_empty(const Digest& digest) {
  return digest.empty() ? std::string() : digest.hex();
}

}  // namespace flops::registry
