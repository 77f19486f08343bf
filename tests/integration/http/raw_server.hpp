// A server that answers the first request with exactly the bytes it is told, over real TLS, and closes.
#pragma once

#include <string>
#include <thread>

#include "fixture.hpp"
#include "flops/core/fd.hpp"

namespace flops::http::test {

class RawServer {
 public:
  explicit RawServer(std::string answer);
  ~RawServer() { thread_.join(); }
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  [[nodiscard]] Url url() const { return {.host = "127.0.0.1", .port = std::to_string(port_)}; }

 private:
  void serve(const std::string& answer);

  Fd listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace flops::http::test
