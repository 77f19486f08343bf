// One HTTPS request and its answer, step by step under one deadline; what client.hpp's functions are made of.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "flops/core/error.hpp"
#include "flops/http/client.hpp"

namespace flops::http {

using Message = boost::beast::http::request<boost::beast::http::string_body>;
using StreamedMessage = boost::beast::http::request<boost::beast::http::buffer_body>;

[[nodiscard]] std::string host_header(const Url& url);

// One connection: asynchronous steps under one deadline, waited for one after the other.
class Connection {
 public:
  Connection(const Url& url, const ClientOptions& options, std::shared_ptr<boost::asio::ssl::context> tls)
      : url_(url),
        options_(options),
        deadline_(std::chrono::steady_clock::now() + options.timeout),
        tls_(std::move(tls)),
        stream_(io_, *tls_) {}

  // Connects, sends, and reads the header of the answer.
  [[nodiscard]] Result<> exchange(const Message& message);
  [[nodiscard]] Result<> exchange(StreamedMessage& message, std::uint64_t bytes, const BodySource& source);

  [[nodiscard]] const boost::beast::http::response_header<>& header() const { return parser_.get().base(); }
  // The rest of the answer; each may be called once, after exchange().
  [[nodiscard]] Result<std::string> read_text(std::uint64_t limit);
  [[nodiscard]] Result<> read_into(const BodySink& sink, std::uint64_t limit);

 private:
  static constexpr std::size_t max_buffer = std::size_t{128} << 10U;

  // How sending a streamed body ended: what the connection says, and what the source says.
  struct Streamed {
    boost::system::error_code error;
    Result<> source;
  };

  template <class Start>
  [[nodiscard]] boost::system::error_code await(Start start);
  // The parser holds a limit set after the header against chunks only, not against an announced length.
  [[nodiscard]] bool announces_more_than(std::uint64_t limit) const {
    return parser_.content_length().value_or(0) > limit;
  }
  [[nodiscard]] Result<> open();
  [[nodiscard]] Result<> connect();
  [[nodiscard]] Result<> handshake();
  [[nodiscard]] Streamed send_pieces(StreamedMessage& message, std::uint64_t bytes, const BodySource& source);
  // The header of the answer, after the request was sent.
  [[nodiscard]] Result<> read_header(const boost::system::error_code& sent);
  [[nodiscard]] Error failure(std::string_view doing, const boost::system::error_code& error,
                              std::uint64_t limit) const;

  const Url& url_;
  const ClientOptions& options_;
  std::chrono::steady_clock::time_point deadline_;
  boost::asio::io_context io_{1};
  std::shared_ptr<boost::asio::ssl::context> tls_;
  boost::asio::ssl::stream<boost::asio::ip::tcp::socket> stream_;
  boost::beast::flat_buffer buffer_{max_buffer};
  boost::beast::http::response_parser<boost::beast::http::empty_body> parser_;
};

}  // namespace flops::http
