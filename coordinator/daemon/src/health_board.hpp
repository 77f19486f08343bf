// The coordinator's conditions (docs/protocol.md, "Health"), for the status topic and the API. Loop's thread.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "flops/core/clock.hpp"
#include "flops/health/conditions.hpp"
#include "flops/wire/messages.hpp"

namespace flops::coordinator {

inline constexpr std::string_view storage_condition = "storage";
inline constexpr std::string_view uplink_condition = "uplink";

class HealthBoard {
 public:
  HealthBoard(const Clock& clock, std::function<void()> changed) : clock_(clock), changed_(std::move(changed)) {}
  // Logs and tells what is news.
  void raise(std::string_view name, std::string_view text);
  void clear(std::string_view name);
  [[nodiscard]] const std::vector<health::Condition>& all() const { return conditions_.all(); }
  [[nodiscard]] std::vector<wire::Condition> shown() const;

 private:
  const Clock& clock_;
  std::function<void()> changed_;
  health::Conditions conditions_;
};

}  // namespace flops::coordinator
