// A server that speaks TLS 1.2 at most, and counts the handshakes that come to an end.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "flops/core/fd.hpp"
#include "flops/test/broker.hpp"

namespace flops::test {

class OldTlsServer {
 public:
  explicit OldTlsServer(const Identity& identity);
  ~OldTlsServer();
  OldTlsServer(const OldTlsServer&) = delete;
  OldTlsServer& operator=(const OldTlsServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int handshakes() const { return handshakes_; }

 private:
  void serve(const Identity& identity);

  Fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> handshakes_{0};
  std::thread thread_;
};

}  // namespace flops::test
