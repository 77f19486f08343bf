// Messages from devices: taken apart, checked, handed on; everything malformed is refused with a reason.
#pragma once

#include "device_life.hpp"
#include "fleet.hpp"
#include "flops/mqtt/client.hpp"
#include "flops/wire/topics.hpp"
#include "reports.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

class Inbox {
 public:
  Inbox(wire::Topics topics, const Clock& clock, Fleet& fleet, RunController& runs, DeviceLife& life, Reports& reports,
        std::function<void()> presence_changed)
      : topics_(std::move(topics)),
        clock_(clock),
        fleet_(fleet),
        runs_(runs),
        life_(life),
        reports_(reports),
        presence_changed_(std::move(presence_changed)) {}

  void on_message(const mqtt::Message& message);

 private:
  void on_state(Device& device, const std::string& payload);
  void on_up(Device& device, const std::string& kind, const std::string& payload);
  [[nodiscard]] bool on_work(Device& device, const std::string& kind, const std::string& payload);
  template <class Message, class Handle>
  void decoded(Device& device, const std::string& kind, const std::string& payload, Handle handle);

  wire::Topics topics_;
  const Clock& clock_;
  Fleet& fleet_;
  RunController& runs_;
  DeviceLife& life_;
  Reports& reports_;
  std::function<void()> presence_changed_;
};

}  // namespace flops::coordinator
