// Who may do what at the broker: its ACL and revocation list from what the registry says of devices, written anew when
// that changes, and the end of connections that may not go on. An external broker fetches the list
// (docs/operations.md); its ACL is its operator's. Loop's thread.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "credentials.hpp"
#include "eviction.hpp"
#include "flops/broker/managed_broker.hpp"
#include "flops/broker/mosquitto_config.hpp"
#include "flops/coordinator/config.hpp"
#include "flops/registry/registry.hpp"

namespace flops::coordinator {

class BrokerAccess {
 public:
  BrokerAccess(boost::asio::any_io_executor loop, const Config& config, const FleetId& fleet,
               registry::Registry& registry, const Credentials& credentials);

  // The list of revoked certificates (PEM); its number grows with each change.
  [[nodiscard]] Result<std::string> revocation_list();
  // The files of a managed broker, before it starts.
  [[nodiscard]] Result<> write_files();
  // From then on changes are told: `broker` rereads its files (nullptr: it is external), connections are ended where it
  // listens.
  void begin(broker::ManagedBroker* broker, BrokerAddress address);
  // What the registry says of a device has changed. `cut`: whether its connection is ended, so that what it may do is
  // judged anew; within about a second, and again when it was quicker.
  // resource: the broker could not be told now; catch_up() goes on with it.
  [[nodiscard]] Result<> changed(const DeviceId& device, Cut cut);
  // Tells the broker what it could not be told before; nothing to do when there is nothing.
  [[nodiscard]] Result<> catch_up();
  // Now and then: the same, also when the files are from a time when the clock was ahead.
  void tick();
  void stop() { eviction_.stop(); }

 private:
  [[nodiscard]] Result<> tell();
  [[nodiscard]] Result<> write_acl();
  [[nodiscard]] Result<std::int64_t> list_number();

  const Config& config_;
  FleetId fleet_;
  registry::Registry& registry_;
  const Credentials& credentials_;
  broker::MosquittoFiles files_;
  broker::ManagedBroker* broker_ = nullptr;
  bool behind_ = false;             // the broker does not know all that the registry says
  std::map<DeviceId, Cut> to_cut_;  // once it does
  std::chrono::system_clock::time_point written_at_{};
  std::string problem_;  // that was said
  Eviction eviction_;
};

}  // namespace flops::coordinator
