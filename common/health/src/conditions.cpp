#include "flops/health/conditions.hpp"

#include <algorithm>

namespace flops::health {

std::string_view cut(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) {
    return text;
  }
  std::size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  return text.substr(0, end);
}

bool Conditions::set(std::string_view name, std::string_view text, SteadyTime now) {
  const auto found = std::ranges::find(conditions_, name, &Condition::name);
  if (found != conditions_.end()) {
    found->text = cut(text, max_text);
    return false;
  }
  if (conditions_.size() >= max_conditions) {
    return false;
  }
  conditions_.push_back({std::string(cut(name, max_name)), now, std::string(cut(text, max_text))});
  return true;
}

bool Conditions::clear(std::string_view name) {
  return std::erase_if(conditions_, [name](const Condition& condition) { return condition.name == name; }) > 0;
}

const Condition* Conditions::find(std::string_view name) const {
  const auto found = std::ranges::find(conditions_, name, &Condition::name);
  return found == conditions_.end() ? nullptr : &*found;
}

}  // namespace flops::health
