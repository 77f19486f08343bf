// A server that does what no Mosquitto does: speaks TLS 1.2 at most, or says what it likes. Counts the handshakes that
// come to an end, and remembers whom they asked for.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <openssl/ssl.h>

#include "flops/core/fd.hpp"
#include "flops/test/broker.hpp"

namespace flops::test {

struct TlsServerOptions {
  bool old = false;  // TLS 1.2 at most
  // To the first thing said (a TLS record), the second, and so on; the connection then stays until the client ends it.
  std::vector<std::string> answers;
};

class TlsServer {
 public:
  explicit TlsServer(const Identity& identity, TlsServerOptions options);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int handshakes() const { return handshakes_; }
  // The server name of every handshake that began, empty when there was none.
  [[nodiscard]] std::vector<std::string> names() const {
    const std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  void serve(const Identity& identity);
  void converse(SSL* ssl) const;
  void note_name(const SSL* ssl);

  const TlsServerOptions options_;
  Fd listening_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> handshakes_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> names_;  // under mutex_
  std::thread thread_;
};

}  // namespace flops::test
