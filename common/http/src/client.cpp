#include "flops/http/client.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <span>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "flops/core/fd.hpp"
#include "flops/core/io.hpp"
#include "flops/core/version.hpp"
#include "tls.hpp"

namespace flops::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t kMaxHeader = 16U << 10U;
constexpr std::size_t kMaxBuffer = 128U << 10U;
constexpr std::size_t kMaxRefusal = 64U << 10U;  // what is read of the text that explains a refused download
constexpr std::size_t kMaxShown = 500;
constexpr std::size_t kPiece = 64U << 10U;

using Message = bhttp::request<bhttp::string_body>;

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

std::string host_header(const Url& url) {
  const bool ipv6 = url.host.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + url.host + "]" : url.host;
  return url.port == "443" ? host : host + ":" + url.port;
}

Result<Message> make_message(std::string_view method, const Url& url, std::string_view body,
                             const ClientOptions& options) {
  const auto letter = [](unsigned char c) { return std::isupper(c) != 0; };
  if (method.empty() || !std::ranges::all_of(method, letter)) {
    return fail(ErrorKind::permanent, "an HTTP method is written in upper-case letters");
  }
  // Line breaks would let one text become several headers, or a second request.
  if (!printable(options.bearer) || !printable(options.content_type) || !printable(url.host) || !printable(url.port) ||
      !printable(url.path) || !url.path.starts_with('/') || url.path.find(' ') != std::string::npos) {
    return fail(ErrorKind::permanent, "the URL, the bearer token or the content type has characters that HTTP forbids");
  }
  Message message;
  message.version(11);
  message.method_string(method);
  message.target(url.path);
  message.set(bhttp::field::host, host_header(url));
  message.set(bhttp::field::user_agent, fmt::format("flops/{}", version));
  message.keep_alive(false);
  if (!options.bearer.empty()) {
    message.set(bhttp::field::authorization, "Bearer " + options.bearer);
  }
  if (!body.empty()) {
    message.set(bhttp::field::content_type, options.content_type);
  }
  message.body() = body;
  message.prepare_payload();
  return message;
}

// One connection: asynchronous steps under one deadline, waited for one after the other.
class Connection {
 public:
  Connection(const Url& url, const ClientOptions& options, std::shared_ptr<asio::ssl::context> tls)
      : url_(url),
        options_(options),
        deadline_(std::chrono::steady_clock::now() + options.timeout),
        tls_(std::move(tls)),
        stream_(io_, *tls_) {}

  // Connects, sends, and reads the header of the answer.
  [[nodiscard]] Result<> exchange(const Message& message);

  [[nodiscard]] const bhttp::response_header<>& header() const { return parser_.get().base(); }
  // The rest of the answer; each may be called once, after exchange().
  [[nodiscard]] Result<std::string> read_text(std::uint64_t limit);
  [[nodiscard]] Result<> read_into(int fd, const std::string& file, std::uint64_t limit);

 private:
  template <class Start>
  [[nodiscard]] error_code await(Start start);
  // The parser holds a limit set after the header against chunks only, not against an announced length.
  [[nodiscard]] bool announces_more_than(std::uint64_t limit) const {
    return parser_.content_length().value_or(0) > limit;
  }
  [[nodiscard]] Result<> connect();
  [[nodiscard]] Result<> handshake();
  [[nodiscard]] Error failure(std::string_view doing, const error_code& error, std::uint64_t limit) const;

  const Url& url_;
  const ClientOptions& options_;
  std::chrono::steady_clock::time_point deadline_;
  asio::io_context io_{1};
  std::shared_ptr<asio::ssl::context> tls_;
  asio::ssl::stream<tcp::socket> stream_;
  beast::flat_buffer buffer_{kMaxBuffer};
  bhttp::response_parser<bhttp::empty_body> parser_;
};

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

Result<> Connection::exchange(const Message& message) {
  if (auto connected = connect(); !connected) {
    return connected;
  }
  if (auto secured = handshake(); !secured) {
    return secured;
  }
  const error_code sent = await([&](auto done) { bhttp::async_write(stream_, message, done); });
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

Result<> Connection::read_into(int fd, const std::string& file, std::uint64_t limit) {
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
    if (auto written = write_all(fd, got); !written) {
      return fail(written.error(), file);
    }
  }
  return {};
}

Result<> store_body(Connection& connection, const std::filesystem::path& file, std::uint64_t max_bytes) {
  const std::string temporary = file.string() + ".part";
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) {
    return fail(errno_error(errno, fmt::format("creating {}", temporary)));
  }
  auto stored = connection.read_into(fd.get(), temporary, max_bytes);
  if (stored && ::fsync(fd.get()) != 0) {
    stored = fail(errno_error(errno, fmt::format("syncing {}", temporary)));
  }
  if (stored && ::rename(temporary.c_str(), file.c_str()) != 0) {
    stored = fail(errno_error(errno, fmt::format("renaming {} to {}", temporary, file.string())));
  }
  if (!stored) {
    ::unlink(temporary.c_str());
  }
  return stored;
}

Result<std::unique_ptr<Connection>> open_exchange(std::string_view method, const Url& url, std::string_view body,
                                                  const ClientOptions& options) {
  auto message = make_message(method, url, body, options);
  if (!message) {
    return fail(message.error());
  }
  auto tls = client_context(options.ca_pem, options.verify);
  if (!tls) {
    return fail(tls.error());
  }
  auto connection = std::make_unique<Connection>(url, options, std::move(*tls));
  if (auto exchanged = connection->exchange(*message); !exchanged) {
    return fail(exchanged.error());
  }
  return connection;
}

// What a person should see of a server's text: one line without control characters.
std::string shown(std::string text) {
  text.resize(std::min(text.size(), kMaxShown));
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

Result<ClientResponse> blocking_request(std::string_view method, const Url& url, std::string_view body,
                                        const ClientOptions& options) {
  auto connection = open_exchange(method, url, body, options);
  if (!connection) {
    return fail(connection.error());
  }
  const auto& header = (*connection)->header();
  const auto type = header[bhttp::field::content_type];
  ClientResponse response{
      .status = static_cast<int>(header.result_int()), .content_type = std::string(type), .body = {}};
  if (method == "HEAD") {
    return response;
  }
  auto text = (*connection)->read_text(options.max_response);
  if (!text) {
    return fail(text.error());
  }
  response.body = std::move(*text);
  return response;
}

Result<> blocking_download(const Url& url, const std::filesystem::path& file, std::uint64_t max_bytes,
                           const ClientOptions& options) {
  auto connection = open_exchange("GET", url, "", options);
  if (!connection) {
    return fail(connection.error());
  }
  const unsigned status = (*connection)->header().result_int();
  if (status == 200) {
    return store_body(**connection, file, max_bytes);
  }
  const auto text = (*connection)->read_text(kMaxRefusal);
  return fail(ErrorKind::permanent, "downloading {} from {}: status {}: {}", url.path, host_header(url), status,
              text ? shown(*text) : text.error().what);
}

}  // namespace

Result<ClientResponse> request(std::string_view method, const Url& url, std::string_view body,
                               const ClientOptions& options) {
  try {
    return blocking_request(method, url, body, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP request to {}: {}", url.host, error.what());
  }
}

Result<> download(const Url& url, const std::filesystem::path& file, std::uint64_t max_bytes,
                  const ClientOptions& options) {
  try {
    return blocking_download(url, file, max_bytes, options);
  } catch (const std::exception& error) {
    return fail(ErrorKind::resource, "HTTP download from {}: {}", url.host, error.what());
  }
}

}  // namespace flops::http
