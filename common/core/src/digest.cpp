#include "flops/core/digest.hpp"

#include <algorithm>
#include <cstring>

namespace flops {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return -1;
}

}  // namespace

Result<Digest> Digest::from_hex(std::string_view hex) {
  if (hex.size() != 2 * size) {
    return fail(ErrorKind::permanent, "a SHA-256 has {} hexadecimal digits, not {}", 2 * size, hex.size());
  }
  Digest digest;
  for (std::size_t i = 0; i < size; ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) {
      return fail(ErrorKind::permanent, "a SHA-256 is written in lower-case hexadecimal digits");
    }
    digest.bytes_[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

std::string Digest::hex() const {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * size);
  for (const std::uint8_t byte : bytes_) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

std::string Digest::short_hex() const {
  return hex().substr(0, 12);
}

bool Digest::empty() const {
  return std::ranges::all_of(bytes_, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace flops

std::size_t std::hash<flops::Digest>::operator()(const flops::Digest& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.bytes().data(), sizeof value);
  return value;
}
