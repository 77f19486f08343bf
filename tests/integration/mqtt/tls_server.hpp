// A server that does what no Mosquitto does: speaks TLS 1.2 at most, or says what it likes. Counts the handshakes that
// come to an end.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include <openssl/ssl.h>

#include "flops/core/fd.hpp"
#include "flops/test/broker.hpp"

namespace flops::test {

struct TlsServerOptions {
  bool old = false;   // TLS 1.2 at most
  std::string words;  // sent as an answer to the first thing said; the connection then stays until the client ends it
};

class TlsServer {
 public:
  explicit TlsServer(const Identity& identity, TlsServerOptions options);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int handshakes() const { return handshakes_; }

 private:
  void serve(const Identity& identity);
  void converse(SSL* ssl) const;

  const TlsServerOptions options_;
  Fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> handshakes_{0};
  std::thread thread_;
};

}  // namespace flops::test
