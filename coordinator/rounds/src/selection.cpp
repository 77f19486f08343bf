#include <algorithm>
#include <cmath>
#include <cstring>

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

}  // namespace

TaskId task_id(const RunId& run, std::string_view kind, std::int64_t round, const DeviceId& device) {
  // The parts follow the grammar of ids, and run ids are short: parsing cannot fail.
  const std::string text = fmt::format("{}.{}{}.{}", run, kind, round, crypto::sha256(device.str()).short_hex());
  return TaskId::parse(text).value_or(TaskId());
}

std::uint64_t task_seed(std::uint64_t run_seed, std::int64_t round, const DeviceId& device) {
  return first_bits(crypto::sha256(fmt::format("{}/{}/{}", run_seed, round, device)));
}

std::set<DeviceId> select(const std::set<DeviceId>& devices, std::size_t count, std::uint64_t seed,
                          std::int64_t round) {
  // Ranked by a keyed hash: uniform, and independent of which other devices are there.
  std::vector<std::pair<Digest, DeviceId>> ranked;
  ranked.reserve(devices.size());
  for (const DeviceId& device : devices) {
    ranked.emplace_back(crypto::sha256(fmt::format("select/{}/{}/{}", seed, round, device)), device);
  }
  std::ranges::sort(ranked);
  ranked.resize(std::min(count, ranked.size()));
  std::set<DeviceId> chosen;
  for (auto& [rank, device] : ranked) {
    chosen.insert(std::move(device));
  }
  return chosen;
}

}  // namespace flops::rounds
