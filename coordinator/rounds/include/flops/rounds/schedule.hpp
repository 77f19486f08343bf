// How the devices' learning rate changes over the rounds of a run.
#pragma once

#include <cstdint>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::rounds {

enum class Decay : std::uint8_t { constant, step, exponential, cosine };
[[nodiscard]] std::string_view to_string(Decay decay);
[[nodiscard]] bool parse_decay(std::string_view text, Decay& decay);

// The first `warmup` rounds rise evenly to the full rate (Goyal et al., "Accurate, Large Minibatch SGD", 2017), the
// others, of which r is the number from 0 and n the count, have
//   constant     rate
//   step         rate * factor^floor(r / every)
//   exponential  rate * factor^r
//   cosine       floor + (rate - floor) * (1 + cos(pi * r / n)) / 2   (Loshchilov, Hutter, "SGDR", ICLR 2017)
// but never less than `floor`, and never less than the smallest rate a device takes.
struct Schedule {
  Decay decay = Decay::constant;
  double factor = 0.5;
  std::int64_t every = 10;
  std::int64_t warmup = 0;
  double floor = 0;
  std::int64_t rounds = 0;  // of the whole run, when this is a part of it; 0: this is the whole

  bool operator==(const Schedule&) const = default;
};

inline constexpr double least_learning_rate = 1e-12;

// In `round` (from 1) of `rounds`.
[[nodiscard]] double learning_rate(const Schedule& schedule, double rate, std::int64_t rounds, std::int64_t round);

}  // namespace flops::rounds
