#include "power_law.hpp"

#include <algorithm>
#include <numeric>
#include <span>

namespace flops::partition {
namespace {

constexpr std::uint64_t least = 5;
constexpr double deviation = 2.0;

// Gives the class's samples to its users: `least` each, then by weight.
void deal_by_weight(const std::vector<std::uint32_t>& members, std::span<const std::uint32_t> users,
                    std::span<const double> weights, Assignment& assignment) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const std::uint64_t spare = members.size() - least * users.size();
  std::uint64_t begin = 0;
  double cumulative = 0;
  for (std::size_t u = 0; u < users.size(); ++u) {
    cumulative += weights[u];
    const bool last = u + 1 == users.size();
    const auto share = static_cast<std::uint64_t>(cumulative / total * static_cast<double>(spare));
    const std::uint64_t end = last ? members.size() : least * (u + 1) + std::min(share, spare);
    auto& mine = assignment[users[u]];
    mine.insert(mine.end(), members.begin() + static_cast<std::ptrdiff_t>(begin),
                members.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
  }
}

}  // namespace

Result<Assignment> cut_power_law(const Classes& classes, std::uint32_t per_device, std::uint32_t devices,
                                 Random& random) {
  std::vector<std::size_t> present;
  for (std::size_t c = 0; c < label_values; ++c) {
    if (!classes[c].empty()) {
      present.push_back(c);
    }
  }
  if (per_device > present.size()) {
    return fail(ErrorKind::permanent, "powerlaw:{}: there are only {} classes", per_device, present.size());
  }
  if (devices + per_device <= present.size()) {
    return fail(ErrorKind::permanent, "powerlaw:{} over {} devices leaves some of {} classes to nobody: use more",
                per_device, devices, present.size());
  }
  Assignment assignment(devices);
  for (std::size_t c = 0; c < present.size(); ++c) {
    std::vector<std::uint32_t> users;
    std::vector<double> weights;
    for (std::uint32_t d = 0; d < devices; ++d) {
      const std::size_t ahead = (c + present.size() - d % present.size()) % present.size();
      if (ahead < per_device) {
        users.push_back(d);
        weights.push_back(portable_exp(std::clamp(random.normal() * deviation, -20.0, 20.0)));
      }
    }
    const std::vector<std::uint32_t>& members = classes[present[c]];
    if (members.size() < least * users.size()) {
      return fail(ErrorKind::permanent, "powerlaw:{} over {} devices: {} samples of class {} are not {} for each of {}",
                  per_device, devices, members.size(), present[c], least, users.size());
    }
    deal_by_weight(members, users, weights, assignment);
  }
  return assignment;
}

}  // namespace flops::partition
