// Topic names under flops/v1/<fleet>/, built and taken apart in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "flops/core/digest.hpp"
#include "flops/core/id.hpp"

namespace flops::wire {

class Topics {
 public:
  explicit Topics(const FleetId& fleet);

  [[nodiscard]] std::string status() const;
  [[nodiscard]] std::string run_status(const RunId& run) const;
  [[nodiscard]] std::string cluster_status(std::string_view cluster) const;
  [[nodiscard]] std::string device_state(const DeviceId& device) const;
  [[nodiscard]] std::string up(const DeviceId& device, std::string_view kind) const;
  [[nodiscard]] std::string command(const DeviceId& device, std::string_view kind) const;
  [[nodiscard]] std::string device_chunk(const DeviceId& device, const Digest& blob, std::uint32_t n) const;
  [[nodiscard]] std::string chunk(const Digest& blob, std::uint32_t n) const;

  // What the coordinator listens to: state, up and blob of every device.
  [[nodiscard]] std::string all_states() const;
  [[nodiscard]] std::string all_up() const;
  [[nodiscard]] std::string all_device_chunks() const;
  [[nodiscard]] std::string commands_of(const DeviceId& device) const;

  struct FromDevice {
    DeviceId device;
    enum class What { state, up, chunk } what = What::up;
    std::string kind;  // up: hello, ack, ...
    Digest blob;       // chunk
    std::uint32_t n = 0;
  };
  // Nothing when the topic is none of ours.
  [[nodiscard]] std::optional<FromDevice> from_device(std::string_view topic) const;

  struct ForDevice {
    std::string command;  // task, grant, ...; empty when it is a chunk
    Digest blob;
    std::uint32_t n = 0;
  };
  [[nodiscard]] std::optional<ForDevice> for_device(const DeviceId& device, std::string_view topic) const;

 private:
  std::string root_;  // "flops/v1/<fleet>/"
};

}  // namespace flops::wire
