#include "flops/crypto/digest.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace flops::crypto {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int16_t, 256> make_reverse_alphabet() {
  std::array<std::int16_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int16_t>(i);
  }
  return table;
}

constexpr auto kReverse = make_reverse_alphabet();

// SHA-256 over memory fails only when the library itself is broken or memory has run out: nobody could go on.
void require(bool ok) {
  if (!ok) {
    std::abort();
  }
}

}  // namespace

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) {
    require(context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
  EVP_MD_CTX* context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  std::array<std::uint8_t, Digest::size> bytes{};
  unsigned int length = 0;
  require(EVP_DigestFinal_ex(state_->context, bytes.data(), &length) == 1 && length == bytes.size());
  return Digest(bytes);
}

Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Digest sha256(std::string_view text) {
  return sha256(std::as_bytes(std::span(text.data(), text.size())));
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  auto* out = reinterpret_cast<unsigned char*>(bytes.data());
  require(count == 0 || RAND_bytes_ex(nullptr, out, count, 0) == 1);
  return bytes;
}

std::string base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  unsigned int held = 0;
  for (const char c : bytes) {
    bits = (bits << 8U) | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6) {
      text.push_back(kAlphabet[(bits >> (held - 6)) & 63U]);
    }
  }
  if (held > 0) {
    text.push_back(kAlphabet[(bits << (6 - held)) & 63U]);
  }
  return text;
}

Result<std::string> from_base64url(std::string_view text) {
  if (text.size() % 4 == 1) {
    return fail(ErrorKind::corrupt, "base64url: no encoding has {} characters", text.size());
  }
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned int held = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int value = kReverse[static_cast<unsigned char>(text[i])];
    if (value < 0) {
      return fail(ErrorKind::corrupt, "base64url: a character that is not of the alphabet at offset {}", i);
    }
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<char>((bits >> held) & 255U));
    }
  }
  // One byte string has one text: otherwise a token or digest could be written in several ways.
  if ((bits & ((1U << held) - 1U)) != 0) {
    return fail(ErrorKind::corrupt, "base64url: the unused bits of the last character are not zero");
  }
  return bytes;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace flops::crypto
