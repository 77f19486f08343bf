#include "session.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include "flops/core/log.hpp"
#include "message_rules.hpp"
#include "target.hpp"

namespace flops::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr std::uint32_t kMaxHeader = 8U << 10U;
constexpr std::size_t kMaxBuffer = 64U << 10U;
constexpr std::size_t kReadSize = 4U << 10U;
// A refused client may still be sending: closing at once would reset the connection and destroy the answer in flight.
constexpr milliseconds kLinger{2'000};
constexpr std::size_t kMaxLinger = 16U << 20U;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

// The disk's word, not the connection's, about an upload.
bool is_about_the_file(const error_code& error) {
  constexpr std::array of_files{ENOSPC, EDQUOT, EFBIG, EIO, EROFS};
  return (error.category() == boost::system::system_category() ||
          error.category() == boost::system::generic_category()) &&
         std::ranges::find(of_files, error.value()) != of_files.end();
}

// One connection. Every operation holds a reference; close() ends them all.
class BeastSession final : public Session, public std::enable_shared_from_this<BeastSession> {
 public:
  BeastSession(tcp::socket socket, asio::ssl::context& tls, std::shared_ptr<Shared> shared, std::string peer)
      : stream_(std::move(socket), tls), shared_(std::move(shared)), peer_(std::move(peer)) {}

  void start();
  void respond(Response response);
  void close() override;

 private:
  template <class Body>
  struct Writing {
    explicit Writing(bhttp::response<Body> given) : message(std::move(given)), serializer(message) {}
    bhttp::response<Body> message;
    bhttp::response_serializer<Body> serializer;
  };

  void arm(milliseconds timeout) { beast::get_lowest_layer(stream_).expires_after(timeout); }
  void wait_for_request(milliseconds timeout);
  void read_header();
  void on_header(const error_code& error);
  [[nodiscard]] Request head(Target target) const;
  // False: refused, and answered.
  [[nodiscard]] bool take_body(const BodyPlan& plan);
  [[nodiscard]] bool open_upload(const Upload& upload);
  void read_body();
  void receive();
  void on_request(const error_code& error);
  void handle(Target target);
  void refuse(const error_code& error);
  void refuse(int status, std::string_view text);
  template <class Body>
  void send(const Response& response, typename Body::value_type body);
  void send_file(const Response& response);
  template <class Body>
  void write(std::shared_ptr<Writing<Body>> writing);
  void on_written();
  void remove_upload();
  void discard(std::size_t budget);
  void shut_down();

  beast::ssl_stream<beast::tcp_stream> stream_;
  beast::flat_buffer buffer_{kMaxBuffer};
  std::optional<bhttp::request_parser<bhttp::string_body>> parser_;
  std::optional<bhttp::request_parser<bhttp::file_body>> upload_;  // instead, for an upload
  std::filesystem::path upload_file_;
  std::uint64_t max_body_ = 0;
  std::shared_ptr<Shared> shared_;
  std::string peer_;
  bool keep_alive_ = false;
  bool unread_ = false;  // the client may still be sending the request that was refused
  bool closed_ = false;
};

// The one call of a Reply; when all its copies are dropped without one, the connection closes.
class PendingReply {
 public:
  explicit PendingReply(std::shared_ptr<BeastSession> session) : session_(std::move(session)) {}
  PendingReply(const PendingReply&) = delete;
  PendingReply& operator=(const PendingReply&) = delete;
  ~PendingReply() {
    if (session_) {
      session_->close();
    }
  }
  void send(Response response) {
    if (const auto session = std::exchange(session_, nullptr)) {
      session->respond(std::move(response));
    }
  }

 private:
  std::shared_ptr<BeastSession> session_;
};

void BeastSession::start() {
  shared_->sessions.emplace(this, weak_from_this());
  arm(shared_->options.request_timeout);
  stream_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](const error_code& error) {
    if (error || self->closed_) {
      return self->close();
    }
    self->wait_for_request(self->shared_->options.request_timeout);
  });
}

void BeastSession::close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  shared_->sessions.erase(this);
  beast::get_lowest_layer(stream_).close();
  remove_upload();
}

void BeastSession::remove_upload() {
  if (!upload_file_.empty()) {
    std::error_code ignored;  // whoever keeps it has renamed it
    std::filesystem::remove(std::exchange(upload_file_, {}), ignored);
  }
}

// The first byte may be long in coming; the clock of the request starts with it.
void BeastSession::wait_for_request(milliseconds timeout) {
  if (buffer_.size() > 0) {
    return read_header();
  }
  arm(timeout);
  stream_.async_read_some(buffer_.prepare(kReadSize),
                          [self = shared_from_this()](const error_code& error, std::size_t size) {
                            if (error || self->closed_) {
                              return self->close();
                            }
                            self->buffer_.commit(size);
                            self->read_header();
                          });
}

void BeastSession::read_header() {
  parser_.emplace();
  parser_->header_limit(kMaxHeader);
  parser_->body_limit(boost::none);  // until the header says what it is
  arm(shared_->options.request_timeout);
  bhttp::async_read_header(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](const error_code& error, std::size_t /*size*/) { self->on_header(error); });
}

void BeastSession::on_header(const error_code& error) {
  if (closed_) {
    return;
  }
  if (error) {
    return refuse(error);
  }
  const bool waits = beast::iequals(parser_->get()[bhttp::field::expect], "100-continue") && !parser_->is_done();
  BodyPlan plan;
  if (auto target = parse_target(view(parser_->get().target())); target && shared_->options.plan_body) {
    plan = shared_->options.plan_body(head(*std::move(target)));
  }
  if (!take_body(plan)) {
    return;
  }
  if (!waits) {
    return read_body();
  }
  asio::async_write(stream_, asio::buffer(kContinue),
                    [self = shared_from_this()](const error_code& failed, std::size_t /*size*/) {
                      if (failed || self->closed_) {
                        return self->close();
                      }
                      self->read_body();
                    });
}

Request BeastSession::head(Target target) const {
  const bhttp::request_header<>& header = upload_ ? upload_->get().base() : parser_->get().base();
  return {.method = std::string(view(header.method_string())),
          .path = std::move(target.path),
          .query = std::move(target.query),
          .bearer = bearer_of(view(header[bhttp::field::authorization])),
          .body = {},
          .peer = peer_};
}

bool BeastSession::take_body(const BodyPlan& plan) {
  if (const auto* response = std::get_if<Response>(&plan)) {
    keep_alive_ = false;
    unread_ = true;
    respond(*response);
    return false;
  }
  const auto* upload = std::get_if<Upload>(&plan);
  max_body_ = upload != nullptr ? upload->max_bytes : shared_->options.max_body;
  if (parser_->content_length().value_or(0) > max_body_) {
    refuse(bhttp::error::body_limit);
    return false;
  }
  parser_->body_limit(max_body_);
  return upload == nullptr || open_upload(*upload);
}

bool BeastSession::open_upload(const Upload& upload) {
  upload_.emplace(std::move(*parser_));
  parser_.reset();
  error_code error;
  upload_->get().body().open(upload.file.c_str(), beast::file_mode::write_new, error);
  if (error) {
    refuse(503, fmt::format("the upload cannot be stored: {}", error.message()));
    return false;
  }
  upload_file_ = upload.file;
  return true;
}

// Piece by piece, so that the time-out is for progress.
void BeastSession::receive() {
  if (upload_->is_done()) {
    return on_request({});
  }
  arm(shared_->options.request_timeout);
  bhttp::async_read_some(stream_, buffer_, *upload_,
                         [self = shared_from_this()](const error_code& error, std::size_t /*size*/) {
                           if (error || self->closed_) {
                             return self->on_request(error);
                           }
                           self->receive();
                         });
}

void BeastSession::read_body() {
  if (upload_) {
    return receive();
  }
  bhttp::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](const error_code& error, std::size_t /*size*/) { self->on_request(error); });
}

void BeastSession::on_request(const error_code& error) {
  if (closed_) {
    return;
  }
  if (error) {
    return refuse(error);
  }
  beast::get_lowest_layer(stream_).expires_never();  // the handler takes the time it needs
  const bhttp::request_header<>& header = upload_ ? upload_->get().base() : parser_->get().base();
  keep_alive_ = upload_ ? upload_->keep_alive() : parser_->keep_alive();
  // An answer to these two has no body where others have one; nothing here needs them.
  if (header.method() == bhttp::verb::head || header.method() == bhttp::verb::connect) {
    keep_alive_ = false;
    Response response = refusal(405, "");
    response.body.clear();
    return respond(std::move(response));
  }
  auto target = parse_target(view(header.target()));
  if (!target) {
    return refuse(400, target.error().what);
  }
  handle(std::move(*target));
}

void BeastSession::handle(Target target) {
  Request request = head(std::move(target));
  if (upload_) {
    request.upload = upload_file_;
  } else {
    request.body = std::move(parser_->get().body());
  }
  parser_.reset();
  upload_.reset();  // closes the file
  const auto pending = std::make_shared<PendingReply>(shared_from_this());
  shared_->handler(request, [pending](Response response) { pending->send(std::move(response)); });
}

void BeastSession::refuse(const error_code& error) {
  if (error == bhttp::error::body_limit) {
    return refuse(413, fmt::format("the body is larger than {} bytes", max_body_));
  }
  if (upload_ && is_about_the_file(error)) {
    return refuse(503, fmt::format("the upload cannot be stored: {}", error.message()));
  }
  if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow) {
    return refuse(431, fmt::format("the header is larger than {} bytes", kMaxHeader));
  }
  const bool cut_off = error == bhttp::error::end_of_stream || error == bhttp::error::partial_message;
  if (!cut_off && error.category() == make_error_code(bhttp::error::bad_method).category()) {
    return refuse(400, fmt::format("not an HTTP/1.1 request: {}", error.message()));
  }
  close();  // gone or too slow: nobody listens
}

void BeastSession::refuse(int status, std::string_view text) {
  keep_alive_ = false;
  unread_ = true;
  respond(refusal(status, text));
}

void BeastSession::respond(Response response) {
  if (closed_) {
    return;
  }
  remove_upload();
  if (!sendable(response)) {
    response = refusal(500, "the answer cannot be sent");
  }
  if (!response.file.empty()) {
    return send_file(response);
  }
  std::string body = std::move(response.body);
  send<bhttp::string_body>(response, std::move(body));
}

void BeastSession::send_file(const Response& response) {
  bhttp::file_body::value_type file;
  beast::error_code error;
  file.open(response.file.c_str(), beast::file_mode::scan, error);
  std::error_code kind;
  if (error || !std::filesystem::is_regular_file(response.file, kind)) {
    return respond(refusal(500, "the file to send cannot be read"));
  }
  send<bhttp::file_body>(response, std::move(file));
}

template <class Body>
void BeastSession::send(const Response& response, typename Body::value_type body) {
  bhttp::response<Body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  message.set(bhttp::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) {
    message.set(name, value);
  }
  message.keep_alive(keep_alive_);
  message.body() = std::move(body);
  message.prepare_payload();
  write(std::make_shared<Writing<Body>>(std::move(message)));
}

// Piece by piece, so that the time-out is for progress: a large file over a thin line may take its time.
template <class Body>
void BeastSession::write(std::shared_ptr<Writing<Body>> writing) {
  arm(shared_->options.request_timeout);
  auto& serializer = writing->serializer;
  bhttp::async_write_some(
      stream_, serializer,
      [self = shared_from_this(), writing = std::move(writing)](const error_code& error, std::size_t /*size*/) {
        if (error || self->closed_) {
          return self->close();
        }
        if (!writing->serializer.is_done()) {
          return self->write(writing);
        }
        self->on_written();
      });
}

void BeastSession::on_written() {
  if (keep_alive_) {
    return wait_for_request(shared_->options.idle_timeout);
  }
  if (unread_) {
    arm(std::min(kLinger, shared_->options.request_timeout));
    return discard(kMaxLinger);
  }
  shut_down();
}

void BeastSession::discard(std::size_t budget) {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kReadSize),
                          [self = shared_from_this(), budget](const error_code& error, std::size_t size) {
                            if (error || self->closed_ || size >= budget) {
                              return self->close();
                            }
                            self->discard(budget - size);
                          });
}

void BeastSession::shut_down() {
  arm(std::min(kLinger, shared_->options.request_timeout));
  stream_.async_shutdown([self = shared_from_this()](const error_code& /*error*/) { self->close(); });
}

}  // namespace

void open_session(tcp::socket socket, asio::ssl::context& tls, std::shared_ptr<Shared> shared) {
  error_code gone;
  const auto peer = socket.remote_endpoint(gone);
  if (gone || shared->sessions.size() >= shared->options.max_connections) {
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  try {
    std::make_shared<BeastSession>(std::move(socket), tls, std::move(shared), peer.address().to_string())->start();
  } catch (const std::exception& error) {
    // No memory for one more connection: it closes, the server goes on.
    log::debug("http", "a connection is closed: {}", error.what());
  }
}

}  // namespace flops::http
