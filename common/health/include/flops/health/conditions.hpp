// Named conditions: what keeps a program or its device from working as it should, for people and for monitoring. A
// condition is named by its subject ("storage", "clock"), holds from set() to clear(), and says in its text what
// happens and what helps. Pure: a value, no clock of its own, no log.
//
// The names are the programs' own words, so that there are only a few.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "flops/core/clock.hpp"

namespace flops::health {

inline constexpr std::size_t max_conditions = 8;
inline constexpr std::size_t max_name = 32;
inline constexpr std::size_t max_text = 512;  // bytes

struct Condition {
  std::string name;
  SteadyTime since;
  std::string text;

  bool operator==(const Condition&) const = default;
};

class Conditions {
 public:
  // True when the condition did not hold before. One that holds keeps its `since` and gets the new text. Texts are cut
  // to max_text, between two UTF-8 characters; a condition beyond max_conditions is not kept.
  bool set(std::string_view name, std::string_view text, SteadyTime now);
  // True when it held.
  bool clear(std::string_view name);
  [[nodiscard]] const Condition* find(std::string_view name) const;
  // Oldest first.
  [[nodiscard]] const std::vector<Condition>& all() const { return conditions_; }

 private:
  std::vector<Condition> conditions_;
};

// `text` without the end that is beyond `bytes`.
[[nodiscard]] std::string_view cut(std::string_view text, std::size_t bytes);

}  // namespace flops::health
