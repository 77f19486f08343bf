#include "flops/wire/topics.hpp"

#include <charconv>

namespace flops::wire {
namespace {

// Takes the next level off `rest`.
std::string_view next_level(std::string_view& rest) {
  const std::size_t slash = rest.find('/');
  const std::string_view level = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  return level;
}

// "<sha256>/<n>"
bool parse_chunk(std::string_view rest, Digest& blob, std::uint32_t& n) {
  auto digest = Digest::from_hex(next_level(rest));
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
  if (!digest || rest.empty() || error != std::errc() || end != rest.data() + rest.size()) {
    return false;
  }
  blob = *digest;
  return true;
}

}  // namespace

Topics::Topics(const FleetId& fleet) : root_("flops/v1/" + fleet.str() + "/") {}

std::string Topics::status() const {
  return root_ + "status";
}
std::string Topics::run_status(const RunId& run) const {
  return root_ + "runs/" + run.str() + "/status";
}
std::string Topics::cluster_status(std::string_view cluster) const {
  return fmt::format("{}clusters/{}/status", root_, cluster);
}
std::string Topics::device_state(const DeviceId& device) const {
  return root_ + "devices/" + device.str() + "/state";
}

std::string Topics::up(const DeviceId& device, std::string_view kind) const {
  return fmt::format("{}devices/{}/up/{}", root_, device, kind);
}

std::string Topics::command(const DeviceId& device, std::string_view kind) const {
  return fmt::format("{}devices/{}/cmd/{}", root_, device, kind);
}

std::string Topics::device_chunk(const DeviceId& device, const Digest& blob, std::uint32_t n) const {
  return fmt::format("{}devices/{}/blob/{}/{}", root_, device, blob.hex(), n);
}

std::string Topics::chunk(const Digest& blob, std::uint32_t n) const {
  return fmt::format("{}blobs/{}/{}", root_, blob.hex(), n);
}

std::string Topics::all_states() const {
  return root_ + "devices/+/state";
}
std::string Topics::all_up() const {
  return root_ + "devices/+/up/+";
}
std::string Topics::all_device_chunks() const {
  return root_ + "devices/+/blob/+/+";
}
std::string Topics::commands_of(const DeviceId& device) const {
  return fmt::format("{}devices/{}/cmd/+", root_, device);
}

std::optional<Topics::FromDevice> Topics::from_device(std::string_view topic) const {
  if (!topic.starts_with(root_)) {
    return std::nullopt;
  }
  std::string_view rest = topic.substr(root_.size());
  if (next_level(rest) != "devices") {
    return std::nullopt;
  }
  auto device = DeviceId::parse(next_level(rest));
  if (!device) {
    return std::nullopt;
  }
  FromDevice parsed{*std::move(device), FromDevice::What::up, {}, {}, 0};
  const std::string_view what = next_level(rest);
  if (what == "state" && rest.empty()) {
    parsed.what = FromDevice::What::state;
    return parsed;
  }
  if (what == "up" && !rest.empty() && rest.find('/') == std::string_view::npos) {
    parsed.kind = rest;
    return parsed;
  }
  if (what == "blob" && parse_chunk(rest, parsed.blob, parsed.n)) {
    parsed.what = FromDevice::What::chunk;
    return parsed;
  }
  return std::nullopt;
}

std::optional<Topics::ForDevice> Topics::for_device(const DeviceId& device, std::string_view topic) const {
  if (!topic.starts_with(root_)) {
    return std::nullopt;
  }
  std::string_view rest = topic.substr(root_.size());
  ForDevice parsed;
  const std::string_view first = next_level(rest);
  if (first == "blobs") {
    return parse_chunk(rest, parsed.blob, parsed.n) ? std::optional(parsed) : std::nullopt;
  }
  if (first == "devices" && next_level(rest) == device.str() && next_level(rest) == "cmd" && !rest.empty() &&
      rest.find('/') == std::string_view::npos) {
    parsed.command = rest;
    return parsed;
  }
  return std::nullopt;
}

}  // namespace flops::wire
