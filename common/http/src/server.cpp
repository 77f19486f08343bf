#include "flops/http/server.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "session.hpp"
#include "tls.hpp"

namespace flops::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptPause{100};

struct Listener : std::enable_shared_from_this<Listener> {
  Listener(const asio::any_io_executor& loop, std::shared_ptr<Shared> given)
      : acceptor(loop), pause(loop), shared(std::move(given)) {}

  void accept();
  void on_accept(const error_code& error, tcp::socket socket);
  void stop();

  tcp::acceptor acceptor;
  asio::steady_timer pause;
  std::shared_ptr<Shared> shared;
  std::shared_ptr<asio::ssl::context> tls;
  bool stopped = false;
};

void Listener::accept() {
  acceptor.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
    self->on_accept(error, std::move(socket));
  });
}

void Listener::on_accept(const error_code& error, tcp::socket socket) {
  if (stopped) {
    return;
  }
  if (error && error != asio::error::connection_aborted) {
    // Out of descriptors or memory: trying again at once would spin.
    pause.expires_after(kAcceptPause);
    return pause.async_wait([self = shared_from_this()](const error_code& /*cancelled*/) {
      if (!self->stopped) {
        self->accept();
      }
    });
  }
  if (!error) {
    open_session(std::move(socket), *tls, shared);
  }
  accept();
}

void Listener::stop() {
  if (std::exchange(stopped, true)) {
    return;
  }
  error_code ignored;
  acceptor.close(ignored);
  pause.cancel();
  for (const auto& [key, weak] : std::exchange(shared->sessions, {})) {
    if (const auto session = weak.lock()) {
      session->close();
    }
  }
}

class TlsServer final : public Server {
 public:
  TlsServer(std::shared_ptr<Listener> listener, std::uint16_t port) : listener_(std::move(listener)), port_(port) {}
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer() override { listener_->stop(); }

  [[nodiscard]] std::uint16_t port() const override { return port_; }

  [[nodiscard]] Result<> set_certificate(std::string_view certificate_pem, std::string_view key_pem) override {
    auto tls = server_context(certificate_pem, key_pem);
    if (!tls) {
      return fail(tls.error());
    }
    listener_->tls = std::move(*tls);
    return {};
  }

  void stop() override { listener_->stop(); }

 private:
  std::shared_ptr<Listener> listener_;
  std::uint16_t port_;
};

Result<std::uint16_t> listen(tcp::acceptor& acceptor, const ServerOptions& options) {
  error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) {
    return fail(ErrorKind::permanent, "'{}' is not an IP address to listen on", options.address);
  }
  const tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) {
    acceptor.set_option(asio::socket_base::reuse_address(true), error);
  }
  if (!error) {
    acceptor.bind(endpoint, error);
  }
  if (!error) {
    acceptor.listen(asio::socket_base::max_listen_connections, error);
  }
  const auto local = error ? endpoint : acceptor.local_endpoint(error);
  if (error) {
    return fail(ErrorKind::permanent, "listening on {} port {}: {}", options.address, options.port, error.message());
  }
  return local.port();
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(asio::any_io_executor loop, ServerOptions options, Handler handler) {
  auto tls = server_context(options.certificate_pem, options.key_pem);
  if (!tls) {
    return fail(tls.error(), "HTTP server");
  }
  options.key_pem.clear();  // the context has it
  auto shared = std::make_shared<Shared>(Shared{.options = std::move(options), .handler = std::move(handler)});
  const auto listener = std::make_shared<Listener>(loop, shared);
  listener->tls = std::move(*tls);
  const auto port = listen(listener->acceptor, shared->options);
  if (!port) {
    return fail(port.error(), "HTTP server");
  }
  listener->accept();
  return std::make_unique<TlsServer>(listener, *port);
}

}  // namespace flops::http
