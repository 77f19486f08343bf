#include "flops/rounds/grouping.hpp"

#include <algorithm>
#include <charconv>

#include "flops/crypto/digest.hpp"

namespace flops::rounds {
namespace {

constexpr std::size_t max_label = 64;
constexpr std::string_view sites = "sites";

std::int64_t bucket(const DeviceId& device, std::int64_t count) {
  const Digest digest = crypto::sha256(fmt::format("cluster/{}", device));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value = value << 8U | digest.bytes()[i];
  }
  return static_cast<std::int64_t>(value % static_cast<std::uint64_t>(count));
}

}  // namespace

Result<Grouping> Grouping::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  Grouping grouping;
  if (text == sites) {
    grouping.by = By::sites;
    return grouping;
  }
  if (text.starts_with("label:") && !value.empty() && value.size() <= max_label) {
    grouping.by = By::label;
    grouping.label = value;
    return grouping;
  }
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), grouping.count);
  if (text.starts_with("hash:") && error == std::errc() && end == value.data() + value.size() && grouping.count >= 1 &&
      grouping.count <= max_clusters) {
    grouping.by = By::hash;
    return grouping;
  }
  return fail(ErrorKind::permanent, "'{}' groups no devices: use label:NAME, hash:K (K from 1 to {}) or sites",
              text.substr(0, max_label), max_clusters);
}

std::string Grouping::text() const {
  switch (by) {
    case By::label: return "label:" + label;
    case By::hash: return fmt::format("hash:{}", count);
    case By::sites: return std::string(sites);
    default: return "";
  }
}

ClusterId cluster_of(const Grouping& grouping, const DeviceId& device, const Labels& labels) {
  switch (grouping.by) {
    case Grouping::By::nothing: return {};
    case Grouping::By::label: {
      const auto label = labels.find(grouping.label);
      return label == labels.end() ? ClusterId() : ClusterId::parse(label->second).value_or(ClusterId());
    }
    case Grouping::By::hash:
      return ClusterId::parse(fmt::format("c{}", bucket(device, grouping.count) + 1)).value_or(ClusterId());
    case Grouping::By::list: {
      const auto found =
          std::ranges::find_if(grouping.members, [&](const auto& entry) { return entry.second.contains(device); });
      return found == grouping.members.end() ? ClusterId() : found->first;
    }
    case Grouping::By::sites: return ClusterId::parse(device.str()).value_or(ClusterId());
  }
  return {};
}

}  // namespace flops::rounds
