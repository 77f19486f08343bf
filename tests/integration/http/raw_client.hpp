// A client that says exactly the bytes it is told, over TLS, and never waits longer than the tests' patience.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "flops/core/fd.hpp"

namespace flops::http::test {

// A connected socket on 127.0.0.1 whose reads and writes time out.
[[nodiscard]] Fd connect_tcp(std::uint16_t port);
// Reads until the peer closes or patience ends; `closed` tells which.
struct Heard {
  std::string text;
  bool closed = false;
};
[[nodiscard]] Heard listen_to(const Fd& socket);

class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int max_version = TLS1_3_VERSION);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  bool send(std::string_view bytes);
  // Until `end` was read (included), or the peer closed.
  [[nodiscard]] Heard read_until(std::string_view end);
  [[nodiscard]] Heard read_all() { return read_until(""); }

 private:
  Fd socket_;
  SSL_CTX* context_ = nullptr;
  SSL* session_ = nullptr;
  bool connected_ = false;
  std::string reason_;
};

}  // namespace flops::http::test
