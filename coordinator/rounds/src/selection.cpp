#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "flops/crypto/digest.hpp"
#include "flops/rounds/run_machine.hpp"

namespace flops::rounds {
namespace {

std::uint64_t first_bits(const Digest& digest) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value = value << 8U | digest.bytes()[i];
  }
  return value;
}

// Ranked by a keyed hash: uniform, and independent of which other devices are there.
std::vector<DeviceId> draw(const std::set<DeviceId>& devices, std::size_t count, std::uint64_t seed,
                           std::int64_t round) {
  std::vector<std::pair<Digest, DeviceId>> ranked;
  ranked.reserve(devices.size());
  for (const DeviceId& device : devices) {
    ranked.emplace_back(crypto::sha256(fmt::format("select/{}/{}/{}", seed, round, device)), device);
  }
  std::ranges::sort(ranked);
  std::vector<DeviceId> drawn;
  for (auto& [rank, device] : std::span(ranked).first(std::min(count, ranked.size()))) {
    drawn.push_back(std::move(device));
  }
  return drawn;
}

}  // namespace

TaskId task_id(const RunId& run, std::string_view kind, std::int64_t round, const DeviceId& device) {
  // The parts follow the grammar of ids, and run ids are short: parsing cannot fail.
  const std::string text = fmt::format("{}.{}{}.{}", run, kind, round, crypto::sha256(device.str()).short_hex());
  return TaskId::parse(text).value_or(TaskId());
}

TaskId next_task_id(const TaskId& task) {
  // "run-1.r2.0123456789ab", "run-1.r2.0123456789ab.2" and so on.
  const std::string& text = task.str();
  std::int64_t times = 1;
  std::string first = text;
  if (std::ranges::count(text, '.') > 2) {
    const std::size_t dot = text.rfind('.');
    std::from_chars(text.data() + dot + 1, text.data() + text.size(), times);
    first.resize(dot);
  }
  return TaskId::parse(fmt::format("{}.{}", first, times + 1)).value_or(TaskId());
}

bool is_task_of(const TaskId& task, const RunId& run, std::string_view kind, std::int64_t round,
                const DeviceId& device) {
  const std::string first = task_id(run, kind, round, device).str();
  return task.str() == first || task.str().starts_with(first + ".");
}

std::uint64_t task_seed(std::uint64_t run_seed, std::int64_t round, const DeviceId& device) {
  return first_bits(crypto::sha256(fmt::format("{}/{}/{}", run_seed, round, device)));
}

std::set<DeviceId> select(const std::set<DeviceId>& devices, std::size_t count, std::uint64_t seed,
                          std::int64_t round) {
  const std::vector<DeviceId> drawn = draw(devices, count, seed, round);
  return {drawn.begin(), drawn.end()};
}

std::set<DeviceId> select_by_loss(const std::set<DeviceId>& devices, const std::map<DeviceId, double>& last_losses,
                                  std::size_t candidates, std::size_t count, std::uint64_t seed, std::int64_t round) {
  std::vector<DeviceId> drawn = draw(devices, std::max(candidates, count), seed, round);
  const auto loss = [&last_losses](const DeviceId& device) {
    const auto known = last_losses.find(device);
    return known == last_losses.end() || std::isnan(known->second) ? std::numeric_limits<double>::infinity()
                                                                   : known->second;
  };
  std::ranges::stable_sort(drawn, std::ranges::greater(), loss);
  drawn.resize(std::min(count, drawn.size()));
  return {drawn.begin(), drawn.end()};
}

}  // namespace flops::rounds
