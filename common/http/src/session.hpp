// One connection of the server: TLS handshake, requests one after the other, answers. The only source of the server
// that includes Beast, which is slow to compile.
#pragma once

#include <memory>
#include <unordered_map>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include "flops/http/server.hpp"

namespace flops::http {

class Session {
 public:
  virtual ~Session() = default;
  virtual void close() = 0;
};

// What all sessions share; lives until the last of them is gone. Open sessions enter and leave `sessions` themselves.
struct Shared {
  ServerOptions options;
  Handler handler;
  std::unordered_map<const Session*, std::weak_ptr<Session>> sessions{};
};

// Takes an accepted socket; closes it at once when there are `max_connections` already. From the loop's thread.
void open_session(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls, std::shared_ptr<Shared> shared);

}  // namespace flops::http
