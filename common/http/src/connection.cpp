#include "connection.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/error.hpp>

#include "tls.hpp"

namespace flops::http {
namespace {

namespace asio = boost::asio;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t kMaxHeader = 16U << 10U;
constexpr std::size_t kPiece = 64U << 10U;

}  // namespace

std::string host_header(const Url& url) {
  const bool ipv6 = url.host.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + url.host + "]" : url.host;
  return url.port == "443" ? host : host + ":" + url.port;
}

template <class Start>
error_code Connection::await(Start start) {
  std::optional<error_code> outcome;
  io_.restart();
  start([&outcome](const error_code& error, const auto&... /*results*/) { outcome = error; });
  io_.run_until(deadline_);
  if (!outcome) {
    error_code ignored;
    stream_.lowest_layer().close(ignored);
    io_.restart();
    io_.run();  // the handler refers to this frame: it must have run
    return asio::error::timed_out;
  }
  return *outcome;
}

Error Connection::failure(std::string_view doing, const error_code& error, std::uint64_t limit) const {
  const std::string where = fmt::format("{} {}", doing, host_header(url_));
  if (error == asio::error::timed_out && std::chrono::steady_clock::now() >= deadline_) {
    return {ErrorKind::transient, fmt::format("{}: not done within {} ms", where, options_.timeout.count())};
  }
  if (error == bhttp::error::body_limit) {
    return {ErrorKind::resource, fmt::format("{}: the answer is larger than {} bytes", where, limit)};
  }
  if (error == bhttp::error::end_of_stream || error == bhttp::error::partial_message || error == asio::error::eof ||
      error == asio::ssl::error::stream_truncated) {
    return {ErrorKind::transient, fmt::format("{}: the server closed the connection early", where)};
  }
  if (error.category() == make_error_code(bhttp::error::bad_method).category()) {
    return {ErrorKind::permanent, fmt::format("{}: the answer is not HTTP: {}", where, error.message())};
  }
  if (error.category() == asio::error::get_ssl_category()) {
    return {ErrorKind::permanent, fmt::format("{}: {} (TLS 1.3 is required)", where, error.message())};
  }
  return {ErrorKind::transient, fmt::format("{}: {}", where, error.message())};
}

Result<> Connection::connect() {
  tcp::resolver resolver(io_);
  tcp::resolver::results_type addresses;
  error_code error = await([&](auto done) {
    resolver.async_resolve(url_.host, url_.port,
                           [&addresses, done](const error_code& failed, const auto& found) mutable {
                             addresses = found;
                             done(failed);
                           });
  });
  if (error) {
    return fail(failure("looking up", error, 0));
  }
  error = await([&](auto done) { asio::async_connect(stream_.lowest_layer(), addresses, done); });
  if (error) {
    return fail(failure("connecting to", error, 0));
  }
  error_code ignored;
  stream_.lowest_layer().set_option(tcp::no_delay(true), ignored);
  return {};
}

Result<> Connection::handshake() {
  SSL* session = stream_.native_handle();
  if (auto expected = expect_host(session, url_.host, options_.verify); !expected) {
    return expected;
  }
  const error_code error = await([&](auto done) { stream_.async_handshake(asio::ssl::stream_base::client, done); });
  if (!error) {
    return {};
  }
  if (auto verdict = certificate_verdict(session, url_.host); options_.verify && !verdict) {
    return verdict;
  }
  return fail(failure("opening TLS to", error, 0));
}

Result<> Connection::open() {
  auto connected = connect();
  return connected ? handshake() : connected;
}

Result<> Connection::exchange(const Message& message) {
  if (auto opened = open(); !opened) {
    return opened;
  }
  return read_header(await([&](auto done) { bhttp::async_write(stream_, message, done); }));
}

Result<> Connection::exchange(StreamedMessage& message, std::uint64_t bytes, const BodySource& source) {
  if (auto opened = open(); !opened) {
    return opened;
  }
  const Streamed sent = send_pieces(message, bytes, source);
  return sent.source ? read_header(sent.error) : sent.source;
}

Connection::Streamed Connection::send_pieces(StreamedMessage& message, std::uint64_t bytes, const BodySource& source) {
  message.content_length(bytes);
  message.body().data = nullptr;
  message.body().more = bytes > 0;
  bhttp::request_serializer<bhttp::buffer_body> serializer(message);
  error_code error = await([&](auto done) { bhttp::async_write_header(stream_, serializer, done); });
  std::string piece(kPiece, '\0');
  while (!error && bytes > 0) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, piece.size()));
    if (auto read = source(std::as_writable_bytes(std::span(piece)).first(now)); !read) {
      return {{}, std::move(read)};
    }
    bytes -= now;
    message.body().data = piece.data();
    message.body().size = now;
    message.body().more = bytes > 0;
    error = await([&](auto done) { bhttp::async_write(stream_, serializer, done); });
    if (error == bhttp::error::need_buffer) {
      error = {};
    }
  }
  return {error, {}};
}

Result<> Connection::read_header(const error_code& sent) {
  if (sent == asio::error::timed_out) {
    return fail(failure("sending to", sent, 0));
  }
  // A server that refuses a large body answers before it has read all: the answer says more than the broken write.
  parser_.header_limit(kMaxHeader);
  parser_.body_limit(boost::none);
  const error_code read = await([&](auto done) { bhttp::async_read_header(stream_, buffer_, parser_, done); });
  if (sent && read) {
    return fail(failure("sending to", sent, 0));
  }
  if (read) {
    return fail(failure("reading from", read, 0));
  }
  return {};
}

Result<std::string> Connection::read_text(std::uint64_t limit) {
  if (announces_more_than(limit)) {
    return fail(failure("reading from", bhttp::error::body_limit, limit));
  }
  bhttp::response_parser<bhttp::string_body> parser(std::move(parser_));
  parser.body_limit(limit);
  const error_code error = await([&](auto done) { bhttp::async_read(stream_, buffer_, parser, done); });
  if (error) {
    return fail(failure("reading from", error, limit));
  }
  return std::move(parser.get().body());
}

Result<> Connection::read_into(const BodySink& sink, std::uint64_t limit) {
  if (announces_more_than(limit)) {
    return fail(failure("downloading from", bhttp::error::body_limit, limit));
  }
  bhttp::response_parser<bhttp::buffer_body> parser(std::move(parser_));
  parser.body_limit(limit);
  std::string piece(kPiece, '\0');
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    const error_code error = await([&](auto done) { bhttp::async_read(stream_, buffer_, parser, done); });
    if (error && error != bhttp::error::need_buffer) {
      return fail(failure("downloading from", error, limit));
    }
    const auto got = std::as_bytes(std::span(piece)).first(piece.size() - body.size);
    if (auto taken = sink(got); !taken) {
      return taken;
    }
  }
  return {};
}

}  // namespace flops::http
