// A SHA-256 value: the name of a blob, a model, a layout. Computed in `crypto`; a plain value here.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops {

class Digest {
 public:
  static constexpr std::size_t size = 32;

  Digest() = default;  // all zero: "none"
  explicit Digest(const std::array<std::uint8_t, size>& bytes) : bytes_(bytes) {}

  // 64 lower-case hexadecimal digits; anything else is `permanent`.
  [[nodiscard]] static Result<Digest> from_hex(std::string_view hex);

  [[nodiscard]] std::string hex() const;
  [[nodiscard]] std::string short_hex() const;  // 12 digits, for people
  [[nodiscard]] bool empty() const;
  [[nodiscard]] const std::array<std::uint8_t, size>& bytes() const { return bytes_; }
  auto operator<=>(const Digest&) const = default;

 private:
  std::array<std::uint8_t, size> bytes_{};
};

}  // namespace flops

template <>
struct std::hash<flops::Digest> {
  std::size_t operator()(const flops::Digest& digest) const noexcept;
};
