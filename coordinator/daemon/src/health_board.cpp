#include "health_board.hpp"

#include "flops/core/log.hpp"

namespace flops::coordinator {

void HealthBoard::raise(std::string_view name, std::string_view text) {
  if (conditions_.set(name, text, clock_.steady())) {
    log::error("health", "{}: {}", name, text);
    changed_();
  }
}

void HealthBoard::clear(std::string_view name) {
  if (conditions_.clear(name)) {
    log::info("health", "{}: all is well again", name);
    changed_();
  }
}

std::vector<wire::Condition> HealthBoard::shown() const {
  std::vector<wire::Condition> shown;
  for (const health::Condition& condition : conditions_.all()) {
    shown.push_back({condition.name, condition.text});
  }
  return shown;
}

}  // namespace flops::coordinator
