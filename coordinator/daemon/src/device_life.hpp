// What becomes of devices after they have enrolled: approved, quarantined, revoked, renewed, configured. Each step is
// durable and noted in the audit log before it takes effect, then told to whom it concerns: the broker (who may do
// what), the runs (who gets work, whose updates count), the device. Loop's thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "broker_access.hpp"
#include "fleet.hpp"
#include "link.hpp"
#include "run_controller.hpp"

namespace flops::coordinator {

class DeviceLife {
 public:
  struct Parts {
    const Config& config;
    registry::Registry& registry;
    const Credentials& credentials;
    Fleet& fleet;
    RunController& runs;
    Link& link;
    BrokerAccess& broker;
    std::function<void()> presence_changed;
  };
  explicit DeviceLife(Parts parts) : parts_(std::move(parts)) {}

  // permanent: there is no such device, or what it is does not allow that. `who`: for the audit log.
  [[nodiscard]] Result<> set_standing(const DeviceId& device, registry::Standing standing, std::string_view reason,
                                      std::string_view who);
  // The whole of what is wanted of it from now on; its version is counted here. Told at once, or when it comes online.
  [[nodiscard]] Result<> configure(const DeviceId& device, wire::Configuration wanted, std::string_view who,
                                   std::string_view what);

  // A certificate for the key of this request.
  [[nodiscard]] Result<registry::IssuedCertificate> issue(const DeviceId& device, const std::string& csr);
  // Somebody enrolled; `key_replaced`: as a device there was, whose former key is worth nothing from now on.
  void enrolled(const DeviceId& device, bool key_replaced);
  // What a device that shows its key gets when it asks for a new certificate.
  [[nodiscard]] Result<registry::Renewal> renew(const DeviceId& device, const std::string& csr);

  // From devices, over the broker.
  void said_hello(const Device& device);
  void asked_for_renewal(const Device& device, const wire::Renew& renewal);
  // Two machines use its certificate: nobody knows which one is the device.
  void has_two_machines(const DeviceId& device);

 private:
  void reload(const DeviceId& device);
  void tell_standing(const Device& device);
  void put_offline(const DeviceId& device);

  Parts parts_;
};

}  // namespace flops::coordinator
