// Starts Mosquitto as a child of the coordinator and keeps it running: after an unexpected end it is started again with
// back-off. It ends with the coordinator, however that ends.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"

namespace flops::broker {

struct ManagedBrokerOptions {
  std::filesystem::path program = "mosquitto";
  std::filesystem::path configuration;
  std::filesystem::path log;
};

class ManagedBroker {
 public:
  // permanent when the program is missing.
  [[nodiscard]] static Result<std::unique_ptr<ManagedBroker>> start(boost::asio::any_io_executor loop,
                                                                    ManagedBrokerOptions options);
  ~ManagedBroker();
  ManagedBroker(const ManagedBroker&) = delete;
  ManagedBroker& operator=(const ManagedBroker&) = delete;

  [[nodiscard]] int pid() const;                     // -1 while it is down
  [[nodiscard]] const std::string& problem() const;  // why it is down; empty while it runs
  void reload();                                     // SIGHUP: certificates, CRL and ACL are read again
  void stop(std::function<void()> done);

 private:
  struct State;
  explicit ManagedBroker(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// A TCP port on `address` that was free a moment ago, and none that outgoing connections get.
[[nodiscard]] Result<std::uint16_t> free_port(const std::string& address);

}  // namespace flops::broker
