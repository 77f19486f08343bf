#include "flops/core/id.hpp"

#include <algorithm>

namespace flops {

bool is_valid_id(std::string_view text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || text.size() > max_id_length || !alphanumeric(text.front())) {
    return false;
  }
  return std::ranges::all_of(text, [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace flops
