// A small HTTPS server (HTTP/1.1 over TLS 1.3, Boost.Beast) for the coordinator's API.
//
// All handlers run on the loop's thread. Limits hold before anything is allocated: header 8 KiB, body
// `max_body`, `max_connections` at once (more are closed at accept), `request_timeout` for the handshake, for a whole
// request, for each piece of an upload and of an answer, `idle_timeout` between requests.
//
// Answered without the handler, as {"error": "..."} and closed: 400 malformed request, escape, ".." or NUL, 405 HEAD
// and CONNECT, 413 body too large, 431 header too large, 503 no room for an upload.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <boost/asio/any_io_executor.hpp>

#include "flops/core/error.hpp"

namespace flops::http {

struct Request {
  std::string method;                        // "GET"
  std::string path;                          // decoded, without the query: "/v1/runs/run-1"
  std::map<std::string, std::string> query;  // decoded, '+' is a space; a key given twice is a 400
  std::string bearer;                        // token of "Authorization: Bearer ...", or empty
  std::string body;
  std::string peer;  // address of the client
  // Instead of `body`: the file it went into. Removed when the request is answered or dropped; to keep it, rename it.
  std::filesystem::path upload{};
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body{};
  std::filesystem::path file{};  // when set: sent instead of body, streamed, never wholly in memory
  std::map<std::string, std::string> headers{};
};

// Exactly one call of `reply`, at once or later, from the loop's thread (more are ignored). A dropped reply closes the
// connection. A header that cannot be sent (line breaks) or a file that cannot be read becomes a 500.
using Reply = std::function<void(Response)>;
using Handler = std::function<void(const Request&, Reply)>;

// A body that goes into a file, piece by piece, and is never wholly in memory.
struct Upload {
  std::filesystem::path file;  // made for it; there must be none
  std::uint64_t max_bytes = 0;
};
// What becomes of a body: it is kept in memory, becomes an upload, or is not wanted, with the answer.
using BodyPlan = std::variant<std::monostate, Upload, Response>;

struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;         // 0: any free one; see port()
  std::string certificate_pem{};  // chain, leaf first
  std::string key_pem{};
  std::size_t max_body = 1U << 20U;  // in memory
  // Asked on the loop's thread when a request's header is here and its body is not. None: all are kept in memory.
  std::function<BodyPlan(const Request& head)> plan_body{};
  std::size_t max_connections = 256;
  std::chrono::milliseconds request_timeout{30'000};
  std::chrono::milliseconds idle_timeout{60'000};
};

class Server {
 public:
  // permanent: address in use, bad certificate.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(boost::asio::any_io_executor loop, ServerOptions options,
                                                             Handler handler);
  virtual ~Server() = default;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  // Replaces the certificate for new connections.
  [[nodiscard]] virtual Result<> set_certificate(std::string_view certificate_pem, std::string_view key_pem) = 0;
  // Stops accepting and closes all connections; open replies are dropped, and the handler is not called any more. From
  // the loop's thread, like the destructor, which does the same.
  virtual void stop() = 0;
};

}  // namespace flops::http
