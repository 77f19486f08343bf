#include "message_rules.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace flops::http {
namespace {

bool safe_header(std::string_view name, std::string_view value) {
  const auto token = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  const auto printable = [](unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; };
  return !name.empty() && std::ranges::all_of(name, token) && std::ranges::all_of(value, printable);
}

bool same_letters(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

}  // namespace

bool sendable(const Response& response) {
  return response.status >= 200 && response.status <= 599 && safe_header("Content-Type", response.content_type) &&
         std::ranges::all_of(response.headers, [](const auto& row) { return safe_header(row.first, row.second); });
}

Response refusal(int status, std::string_view text) {
  return {.status = status, .body = fmt::format("{{\"error\":\"{}\"}}", text)};
}

std::string bearer_of(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size() || !same_letters(authorization.substr(0, scheme.size()), scheme)) {
    return {};
  }
  authorization.remove_prefix(std::min(authorization.find_first_not_of(' ', scheme.size()), authorization.size()));
  return std::string(authorization);
}

}  // namespace flops::http
