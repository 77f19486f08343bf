// Ends the connection of a device at the broker, whatever broker that is: the coordinator connects once in the device's
// name, with a certificate of minutes that it makes for itself. To the broker that is the same client coming back; it
// drops the old connection and, because the new one keeps no session, all that was queued for the device.
//
// Only of use when the device cannot come back: what its certificate may do has been changed before. A device that was
// quicker than the broker's rereading is cut by a further connection. Loop's thread.
//
// MQTT 5.0, 3.1.4-3: a second connection of a client id disconnects the first.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "credentials.hpp"
#include "flops/coordinator/config.hpp"
#include "flops/core/id.hpp"
#include "flops/mqtt/client.hpp"

namespace flops::coordinator {

struct BrokerAddress {
  std::string host;
  std::uint16_t port = 0;
  bool intermediates = false;  // its certificate may come from an authority under broker.ca
};

// Of a connection.
enum class Cut {
  no,
  replaced,  // the device may come back at once with another key
  revoked,   // nobody may come back in this name
};

class Eviction {
 public:
  Eviction(boost::asio::any_io_executor loop, const Config& config, const Credentials& credentials);
  ~Eviction();

  void begin(BrokerAddress address) { address_ = std::move(address); }
  // `rereads_soon`: the broker is told to reread its files. Else it fetches the list in its own time, and a revoked
  // device is cut again and again for five minutes.
  void evict(const DeviceId& device, Cut cut, bool rereads_soon);
  void stop();

 private:
  struct Visit {
    explicit Visit(const boost::asio::any_io_executor& loop) : timer(loop) {}
    std::unique_ptr<mqtt::Client> client;
    boost::asio::steady_timer timer;
    int connections_left = 0;
    int attempts_left = 0;
    std::chrono::milliseconds between{};
  };
  void visit_later(const DeviceId& device, std::chrono::milliseconds wait);
  void visit(const DeviceId& device);
  void visited(const DeviceId& device, bool connected);
  [[nodiscard]] Result<> make_certificate(const DeviceId& device) const;
  [[nodiscard]] std::filesystem::path certificate_of(const DeviceId& device) const;

  boost::asio::any_io_executor loop_;
  const Config& config_;
  const Credentials& credentials_;
  BrokerAddress address_;
  std::map<DeviceId, std::shared_ptr<Visit>> visits_;
};

}  // namespace flops::coordinator
