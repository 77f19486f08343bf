// Digests and clusters as columns: text, empty for none. Kinds of parts: numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"
#include "flops/rounds/grouping.hpp"
#include "flops/rounds/run_machine.hpp"

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

[[nodiscard]] inline std::optional<rounds::Part> part_or_none(std::int64_t number) {
  constexpr auto last = static_cast<std::int64_t>(rounds::Part::evaluate);
  return number >= 0 && number <= last ? std::optional(static_cast<rounds::Part>(number)) : std::nullopt;
}

}  // namespace flops::registry
