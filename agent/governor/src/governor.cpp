#include "flops/agent_governor/governor.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

#include <fmt/format.h>

namespace flops::agent {
namespace {

constexpr double cooler_by = 5;         // degrees
constexpr double fuller_by = 5;         // percent of battery
constexpr double quieter_by = 10;       // points of load
constexpr std::int64_t no_limit = 100;  // percent
// 2026-01-01. Machines without a clock start in 1970, or when their system was built.
constexpr WallTime earliest{std::chrono::seconds(1'767'225'600)};

// A value above a limit never reads like the limit itself.
double shown(double value) {
  return std::ceil(value);
}

}  // namespace

LocalTime local_time(WallTime now) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  ::tzset();  // the zone may have been changed while the program runs
  const bool known = now >= earliest && ::localtime_r(&seconds, &parts) != nullptr;
  return {known, (parts.tm_wday + 6) % 7, parts.tm_hour * 60 + parts.tm_min};
}

std::optional<double> LoadMeter::update(const std::optional<CpuTimes>& cpu, SteadyTime now) {
  if (!cpu) {
    base_.reset();
    percent_.reset();
    return percent_;
  }
  if (base_ && now - base_time_ < window) {
    return percent_;
  }
  if (base_) {
    // Counters may stand still or go back: virtual machines that are moved, processors that are taken away.
    const auto since = [](std::uint64_t before, std::uint64_t after) {
      return after > before ? static_cast<double>(after - before) : 0.0;
    };
    const double total = since(base_->total, cpu->total);
    const double other = since(base_->busy, cpu->busy) - since(base_->own, cpu->own);
    percent_ = total > 0 ? std::optional(std::clamp(other / total * 100, 0.0, 100.0)) : std::nullopt;
  }
  base_ = cpu;
  base_time_ = now;
  return percent_;
}

bool Governor::Latch::update(const std::optional<double>& value, double limit, double resume) {
  closed = value && *value > (closed ? resume : limit);
  return closed;
}

std::string Governor::temperature_objection(const Readings& readings) {
  const auto limit = static_cast<double>(conditions_.max_temperature);
  if (limit == 0 || !temperature_.update(readings.temperature, limit, limit - cooler_by)) {
    return {};
  }
  return fmt::format("temperature {} C is above {} C", shown(*readings.temperature), limit);
}

std::string Governor::memory_objection(const Readings& readings) {
  const auto limit = static_cast<double>(conditions_.max_memory_pressure);
  if (limit >= no_limit || !memory_.update(readings.memory_pressure, limit, limit / 2)) {
    return {};
  }
  return fmt::format("programs wait for memory {} % of the time, more than {} %", shown(*readings.memory_pressure),
                     limit);
}

std::string Governor::load_objection(const Readings& readings, SteadyTime now) {
  const auto limit = static_cast<double>(conditions_.max_other_load);
  const auto load = meter_.update(readings.cpu, now);
  if (limit >= no_limit || !load_.update(load, limit, std::max(limit - quieter_by, limit / 2))) {
    return {};
  }
  return fmt::format("other programs use {} % of the processors, more than {} %", shown(*load), limit);
}

std::string Governor::battery_objection(const Readings& readings) {
  const bool on_battery = !readings.on_mains.value_or(true);
  if (conditions_.min_battery >= no_limit) {
    return on_battery ? "the device runs on its battery" : "";
  }
  // What is missing from a full battery, so that more is worse, as everywhere.
  std::optional<double> missing;
  if (on_battery && readings.battery_percent) {
    missing = static_cast<double>(100 - *readings.battery_percent);
  }
  const auto limit = static_cast<double>(100 - conditions_.min_battery);
  if (!battery_.update(missing, limit, std::max(limit - fuller_by, 0.0))) {
    return {};
  }
  return fmt::format("battery at {} % is below {} %", *readings.battery_percent, conditions_.min_battery);
}

std::string Governor::link_objection(const Readings& readings) const {
  const bool metered =
      readings.interface && std::ranges::any_of(conditions_.metered_interfaces, [&](const std::string& pattern) {
        return matches_interface(pattern, *readings.interface);
      });
  return metered && conditions_.pause_when_metered ? fmt::format("the link {} is metered", *readings.interface) : "";
}

std::string Governor::time_objection(const LocalTime& local) const {
  if (conditions_.time_windows.empty()) {
    return {};
  }
  if (!local.set) {
    return "the clock is not set, and training is limited to times of day";
  }
  const bool inside = std::ranges::any_of(conditions_.time_windows, [&](const TimeWindow& window) {
    return contains(window, local.weekday, local.minute);
  });
  return inside ? "" : "it is outside the times of day for training";
}

const Verdict& Governor::judge(const Readings& readings, SteadyTime now, const LocalTime& local) {
  // All of them, every time: each has to remember what it saw.
  Verdict objections[] = {{Cause::temperature, temperature_objection(readings)},
                          {Cause::memory, memory_objection(readings)},
                          {Cause::load, load_objection(readings, now)},
                          {Cause::battery, battery_objection(readings)},
                          {Cause::link, link_objection(readings)},
                          {Cause::time, time_objection(local)}};
  Verdict* chosen = nullptr;
  for (Verdict& objection : objections) {
    if (objection.reason.empty()) {
      continue;
    }
    if (objection.cause == verdict_.cause) {
      good_since_.reset();
      return verdict_;
    }
    if (chosen == nullptr) {
      chosen = &objection;
    }
  }
  if (chosen != nullptr) {
    good_since_.reset();
    verdict_ = std::move(*chosen);
  } else if (!verdict_.run()) {
    good_since_ = good_since_.value_or(now);
    if (now - *good_since_ >= conditions_.resume_after) {
      verdict_ = {};
    }
  }
  return verdict_;
}

}  // namespace flops::agent
