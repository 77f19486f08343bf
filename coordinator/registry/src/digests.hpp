// Digests and clusters as columns: text, empty for none.
#pragma once

#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/rounds/grouping.hpp"

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

[[nodiscard]] inline Result<rounds::ClusterId> cluster_or_none(const std::string& text) {
  if (text.empty()) {
    return rounds::ClusterId();
  }
  return rounds::ClusterId::parse(text);
}

}  // namespace flops::registry
