#include "flops/crypto/enrolment_token.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "flops/crypto/digest.hpp"

namespace flops::crypto {
namespace {

constexpr std::string_view kPrefix = "flops1.";
constexpr std::size_t kSecretSize = 16;
constexpr std::size_t kSecretText = 22;
constexpr std::size_t kFingerprintText = 43;
constexpr std::size_t kTextSize = kPrefix.size() + kSecretText + 1 + kFingerprintText;

}  // namespace

EnrolmentToken EnrolmentToken::generate(const Digest& ca_fingerprint) {
  return {random_bytes(kSecretSize), ca_fingerprint};
}

// The messages never repeat the token: they end in logs.
Result<EnrolmentToken> EnrolmentToken::parse(std::string_view text) {
  if (!text.starts_with(kPrefix)) {
    return fail(ErrorKind::denied, "an enrolment token starts with '{}'", kPrefix);
  }
  if (text.size() != kTextSize) {
    return fail(ErrorKind::denied, "an enrolment token has {} characters, not {}: was it copied whole?", kTextSize,
                text.size());
  }
  if (text[kPrefix.size() + kSecretText] != '.') {
    return fail(ErrorKind::denied, "an enrolment token has a '.' between the secret and the fingerprint");
  }
  const auto secret = from_base64url(text.substr(kPrefix.size(), kSecretText));
  const auto fingerprint = from_base64url(text.substr(kPrefix.size() + kSecretText + 1));
  if (!secret || !fingerprint) {
    return fail(ErrorKind::denied, "enrolment token: {}", secret ? fingerprint.error().what : secret.error().what);
  }
  std::array<std::uint8_t, Digest::size> bytes{};
  std::ranges::transform(*fingerprint, bytes.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  return EnrolmentToken{*secret, Digest(bytes)};
}

std::string EnrolmentToken::text() const {
  const auto& bytes = ca_fingerprint.bytes();
  return std::string(kPrefix) + base64url(secret) + "." + base64url(std::string(bytes.begin(), bytes.end()));
}

Digest EnrolmentToken::secret_digest() const {
  return sha256(secret);
}

}  // namespace flops::crypto
