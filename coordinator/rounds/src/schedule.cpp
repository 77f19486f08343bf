#include "flops/rounds/schedule.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

namespace flops::rounds {
namespace {

constexpr std::array<std::pair<Decay, std::string_view>, 4> names = {{
    {Decay::constant, "constant"},
    {Decay::step, "step"},
    {Decay::exponential, "exponential"},
    {Decay::cosine, "cosine"},
}};

}  // namespace

std::string_view to_string(Decay decay) {
  return std::ranges::find(names, decay, &std::pair<Decay, std::string_view>::first)->second;
}

bool parse_decay(std::string_view text, Decay& decay) {
  const auto* const found = std::ranges::find(names, text, &std::pair<Decay, std::string_view>::second);
  if (found != names.end()) {
    decay = found->first;
  }
  return found != names.end();
}

double learning_rate(const Schedule& schedule, double rate, std::int64_t rounds, std::int64_t round) {
  const std::int64_t total = schedule.rounds > 0 ? schedule.rounds : rounds;
  double now = rate;
  if (round <= schedule.warmup) {
    now = rate * static_cast<double>(std::max<std::int64_t>(round, 1)) / static_cast<double>(schedule.warmup + 1);
  } else {
    const std::int64_t done = round - schedule.warmup - 1;
    const std::int64_t count = std::max<std::int64_t>(total - schedule.warmup, 1);
    switch (schedule.decay) {
      case Decay::constant: break;
      case Decay::step: now = rate * std::pow(schedule.factor, static_cast<double>(done / schedule.every)); break;
      case Decay::exponential: now = rate * std::pow(schedule.factor, static_cast<double>(done)); break;
      case Decay::cosine: {
        const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(count));
        now = schedule.floor + (rate - schedule.floor) * (1 + std::cos(std::numbers::pi * share)) / 2;
        break;
      }
    }
  }
  return std::max({now, schedule.floor, least_learning_rate});
}

}  // namespace flops::rounds
