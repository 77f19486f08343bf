#include "time_seen.hpp"

#include <charconv>

namespace flops::agent {
namespace {

constexpr std::string_view key = "clock.newest";

}  // namespace

std::int64_t stored_time_seen(Storage& storage) {
  auto stored = storage.meta(key);
  if (!stored || !*stored) {
    return 0;
  }
  const std::string& text = **stored;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return error == std::errc() && end == text.data() + text.size() && seconds > 0 ? seconds : 0;
}

Result<> store_time_seen(Storage& storage, std::int64_t now) {
  return storage.put_meta(key, std::to_string(now));
}

}  // namespace flops::agent
