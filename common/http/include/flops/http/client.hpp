// A blocking HTTPS client for programs that may wait. One connection a request.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "flops/core/error.hpp"

namespace flops::http {

struct Url {
  std::string host;
  std::string port = "443";
  std::string path = "/";  // with query
  // Only https://; IPv6 hosts in brackets. permanent when malformed.
  [[nodiscard]] static Result<Url> parse(std::string_view text);
};

struct ClientOptions {
  // PEM of the only trusted authority, exactly one certificate, which must have issued the server's itself. Empty with
  // `verify = false` is for fetching the CA itself, whose fingerprint the caller then compares; never for anything
  // else.
  std::string ca_pem{};
  bool verify = true;  // chain and host name
  std::string bearer{};
  std::string content_type = "application/json";  // of the request's body
  // For connect, handshake, request and answer together. Looking up a host name may take as long as the system's
  // resolver does.
  std::chrono::milliseconds timeout{30'000};
  std::size_t max_response = 16U << 20U;
};

struct ClientResponse {
  int status = 0;
  std::string content_type;
  std::string body;
};

// transient: no connection, time-out, closed early. denied: certificate not trusted. clock: it is not yet valid or has
// expired because this machine's clock is wrong (health::judge_clock). resource: answer too large. permanent: bad
// options, a peer that does not speak HTTP over TLS 1.3. Any HTTP status is a success here.
[[nodiscard]] Result<ClientResponse> request(std::string_view method, const Url& url, std::string_view body,
                                             const ClientOptions& options);

// Fills all of `into` with the next bytes of a request's body.
using BodySource = std::function<Result<>(std::span<std::byte> into)>;
// Takes the next bytes of an answer's body.
using BodySink = std::function<Result<>(std::span<const std::byte> bytes)>;

// As request(), with a body of `bytes` bytes that is read while it is sent. An error of the source ends the request and
// is passed on.
[[nodiscard]] Result<ClientResponse> upload(std::string_view method, const Url& url, std::uint64_t bytes,
                                            const BodySource& source, const ClientOptions& options);

// GET. The body of an answer with status 200 goes to the sink, at most `max_bytes` (resource), and `body` is empty; of
// any other it is `body`. An error of the sink ends the request and is passed on. After any error the sink may have had
// a part of the body.
[[nodiscard]] Result<ClientResponse> fetch(const Url& url, std::uint64_t max_bytes, const BodySink& sink,
                                           const ClientOptions& options);

// GET into a file (written beside, then renamed); a status other than 200 is `permanent` with the body's text.
// No limit on size but `max_bytes` (resource, like a full disk). On failure nothing is left behind.
[[nodiscard]] Result<> download(const Url& url, const std::filesystem::path& file, std::uint64_t max_bytes,
                                const ClientOptions& options);

}  // namespace flops::http
