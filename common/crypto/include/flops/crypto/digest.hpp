// SHA-256 (FIPS 180-4), random bytes, base64url (RFC 4648, section 5, no padding).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "flops/core/digest.hpp"
#include "flops/core/error.hpp"

namespace flops::crypto {

[[nodiscard]] Digest sha256(std::span<const std::byte> bytes);
[[nodiscard]] Digest sha256(std::string_view text);

// Streaming. Not thread-safe; finish() may be called once.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  [[nodiscard]] Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// From the system's generator; aborts the process if that fails (nothing sensible can follow).
[[nodiscard]] std::string random_bytes(std::size_t count);
[[nodiscard]] std::string base64url(std::string_view bytes);
[[nodiscard]] Result<std::string> from_base64url(std::string_view text);
// Takes the same time wherever the difference is.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace flops::crypto
